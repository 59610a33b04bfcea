//! Numbers and texts as source code of C and Rust.

use std::fmt::Write as _;

use crate::text::plain_line;

/// The widest line of an array, in letters.
const WIDEST: usize = 100;

/// Returns the shortest decimal that is read back as the same number, in single or double
/// precision.
pub(super) fn decimal(number: f64, is_single: bool) -> String {
    if is_single {
        format!("{:?}", number as f32)
    } else {
        format!("{number:?}")
    }
}

/// Returns `text` as a string literal of C99: other letters than those of ASCII as their bytes, `?`
/// escaped because of trigraphs.
pub(super) fn c_text(text: &str) -> String {
    let mut literal = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => {
                literal.push('\\');
                literal.push(char::from(byte));
            }
            b' '..=b'~' => literal.push(char::from(byte)),
            other => {
                write!(literal, "\\{other:03o}").expect("a string grows");
            }
        }
    }
    literal.push('"');
    literal
}

/// Returns `text` on one line, as part of a comment that it cannot end.
pub(super) fn comment(text: &str) -> String {
    let mut shown = plain_line(text).into_owned();
    for (from, to) in [("*/", "* /"), ("/*", "/ *"), ("??", "? ?")] {
        while shown.contains(from) {
            shown = shown.replace(from, to);
        }
    }
    shown
}

/// Returns items, separated by commas, in lines that are indented.
pub(super) fn lines(items: impl IntoIterator<Item = String>, indent: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for item in items {
        let is_first = text.is_empty();
        if is_first || column + item.len() + 2 > WIDEST {
            if !is_first {
                text.push('\n');
            }
            text.push_str(indent);
            column = indent.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(&item);
        text.push(',');
        column += item.len() + 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_c_hold_every_byte_and_no_trigraph() {
        assert_eq!(c_text("a\"b\\c??=\n"), r#""a\"b\\c\?\?=\012""#);
        assert_eq!(c_text("é1"), "\"\\303\\2511\"");
    }

    #[test]
    fn a_comment_cannot_be_ended_from_inside() {
        assert_eq!(comment("a*/b/*c??/"), "a* /b/ *c? ?/");
        assert!(!comment("**//***//").contains("*/"));
        assert!(!comment("a\nb").contains('\n'));
    }

    #[test]
    fn decimals_are_read_back_as_the_same_numbers() {
        assert_eq!(decimal(f64::from(0.1f32), true), "0.1");
        assert_eq!(decimal(0.1, false), "0.1");
        assert_eq!(decimal(1e-7, false), "1e-7");
        assert_eq!(decimal(-3.0, true), "-3.0");
    }
}
