//! Makes text safe to show on a terminal or page, and limits the length of messages.
//!
//! Names, paths and values come from files that others wrote, and a terminal obeys control
//! characters wherever they occur. For people they are replaced by visible forms; in data,
//! [`escaped`] replaces them by escapes, so that JSON and TOML readers get the same text back.

use std::borrow::Cow;

/// Maximum length of a message in bytes; with its heading it stays below 8 KiB.
const MAX_BYTES: usize = 8000;
/// Bytes kept at each end of a message that is too long; the rest leaves room for the note between.
const KEPT_BYTES: usize = MAX_BYTES / 2 - 50;

/// Returns true if `letter` would act on a terminal instead of being shown: a control character, or
/// one of Unicode's bidirectional controls, which change the direction of the text that follows.
pub fn is_control(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a visible form of a character that [`is_control`]: its control picture, such as `␛`, or if
/// Unicode has none, its code point, such as `<U+202E>`.
pub fn visible_form(letter: char) -> String {
    match letter {
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(letter)).map_or_else(String::new, String::from)
        }
        '\u{7f}' => "\u{2421}".to_owned(),
        _ => format!("<U+{:04X}>", u32::from(letter)),
    }
}

/// Makes `text` safe to show: replaces every character that [`is_control`], except line ends and tabs, by
/// its visible form.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, acts_in_lines, visible_form)
}

/// Makes `text` safe to show on one line: replaces every character that [`is_control`], line ends and
/// tabs included, by its visible form.
pub fn plain_line(text: &str) -> Cow<'_, str> {
    replaced(text, is_control, visible_form)
}

/// Makes a JSON document safe to show without changing its content: characters that [`is_control`] is
/// true for can occur only in strings, where they are replaced by `\uXXXX` escapes.
pub fn escaped(document: &str) -> Cow<'_, str> {
    replaced(document, acts_in_lines, |letter| {
        format!("\\u{:04x}", u32::from(letter))
    })
}

/// Shortens a message that is too long by leaving out its middle, and says how much is left out.
/// The start describes the problem, and the end has its location and the help.
pub fn shortened(message: &str) -> Cow<'_, str> {
    if message.len() <= MAX_BYTES {
        return Cow::Borrowed(message);
    }
    let head = boundary(message, KEPT_BYTES);
    let tail = boundary(message, message.len() - KEPT_BYTES);
    Cow::Owned(format!(
        "{}\n… {} bytes left out …\n{}",
        &message[..head],
        tail - head,
        &message[tail..]
    ))
}

/// Breaks the lines of `text` that are longer than `width` letters at spaces; what is carried over
/// is indented by two letters more than its line. Excerpts of files (`3 | line`) and words longer
/// than a line stay whole.
pub fn wrapped(text: &str, width: usize) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let content = line.trim_end_matches('\n');
        let excerpt =
            content.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
        if content.chars().count() <= width || excerpt.starts_with('|') {
            return line.to_owned();
        }
        let indent = content.chars().take_while(|&letter| letter == ' ').count();
        broken(content, width, indent + 2) + &line[content.len()..]
    });
    lines.collect()
}

/// Breaks `line` at spaces after at most `width` letters and indents what follows by `indent`.
pub fn broken(line: &str, width: usize, indent: usize) -> String {
    let mut shown = String::with_capacity(line.len());
    let (mut column, mut has_word) = (0, false);
    // Each word with the spaces before it.
    let mut rest = line;
    while !rest.is_empty() {
        let start = rest.find(|letter| letter != ' ').unwrap_or(rest.len());
        let end = rest[start..].find(' ').map_or(rest.len(), |at| start + at);
        let (spaces, word) = (&rest[..start], &rest[start..end]);
        let letters = word.chars().count();
        if has_word && column + spaces.len() + letters > width {
            shown.push('\n');
            shown.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            shown.push_str(spaces);
            column += spaces.len();
        }
        shown.push_str(word);
        column += letters;
        has_word = true;
        rest = &rest[end..];
    }
    shown
}

fn acts_in_lines(letter: char) -> bool {
    is_control(letter) && letter != '\n' && letter != '\t'
}

fn replaced(text: &str, acts: fn(char) -> bool, spelled: fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) {
            shown.push_str(&spelled(letter));
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// Returns the last character boundary at or before `byte`.
fn boundary(text: &str, byte: usize) -> usize {
    let mut positions = (0..=byte).rev();
    positions.find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible_and_ordinary_text_is_unchanged() {
        assert_eq!(plain("\u{1b}[31mred\0\r\u{7f}"), "␛[31mred␀␍␡");
        assert_eq!(
            plain("\u{9b}2J\u{202e}x\u{2066}\u{200f}"),
            "<U+009B>2J<U+202E>x<U+2066><U+200F>"
        );
        assert_eq!(plain_line("a\n\tb"), "a␊␉b");
        for text in ["", "λ = ½ · θ²\n\tσ′(z) …", "שלום, 世界 👩‍🔬"] {
            assert!(matches!(plain(text), Cow::Borrowed(_)), "{text}");
            assert!(matches!(escaped(text), Cow::Borrowed(_)), "{text}");
        }
        let all: String = ('\0'..='\u{2100}').collect();
        assert!(!plain_line(&all).contains(is_control) && plain_line(&all).len() > all.len());
    }

    #[test]
    fn an_escaped_document_parses_to_the_same_content() {
        let text = "\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{202e}\u{2069}é\n\"\\";
        let document = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = escaped(&document);
        assert!(!shown.replace('\n', "").contains(is_control), "{shown}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
    }

    #[test]
    fn a_long_message_keeps_its_ends_and_says_what_is_left_out() {
        let exact = "é".repeat(MAX_BYTES / 2);
        assert_eq!(shortened(&exact), exact);
        let long = format!("start {} end", "é".repeat(500_000));
        let shortened = shortened(&long);
        assert!(shortened.len() <= MAX_BYTES, "{}", shortened.len());
        assert!(
            shortened.starts_with("start é") && shortened.ends_with("é end"),
            "{shortened}"
        );
        let kept: usize = shortened
            .split('\n')
            .filter(|line| !line.starts_with('…'))
            .map(str::len)
            .sum();
        assert!(
            shortened.contains(&format!("\n… {} bytes left out …\n", long.len() - kept)),
            "{shortened}"
        );
    }

    #[test]
    fn long_lines_are_broken_between_words_and_excerpts_stay_whole() {
        let message = "error: unknown key `rate` in the section\n  help: remove it or rename it\n";
        assert_eq!(
            wrapped(message, 20),
            "error: unknown key\n  `rate` in the\n  section\n  help: remove it or\n    rename it\n"
        );
        assert_eq!(wrapped(message, 80), message);
        let excerpt = "  12 | a line of a file that is long\n     | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n";
        assert_eq!(wrapped(excerpt, 20), excerpt);
        let word = "runs/a-directory-with-a-long-name/001";
        assert_eq!(wrapped(word, 20), word);
        assert_eq!(wrapped(&format!("in {word}"), 20), format!("in\n  {word}"));
    }
}
