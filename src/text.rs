//! Text for people: nothing in it acts on the terminal or page that shows it, and no message is
//! longer than a screen or two.
//!
//! Names, paths and values come out of files that others wrote, and a terminal obeys control
//! characters wherever they stand. Data keeps them: [`escaped`] spells them so that JSON and TOML
//! read back the same text.

use std::borrow::Cow;

/// The longest message, in bytes; with its heading it stays below 8 KiB.
const LONGEST: usize = 8000;
/// What a message keeps of its two ends; the note between them has the rest.
const KEPT: usize = LONGEST / 2 - 50;

/// Whether `letter` would act instead of being shown: a control character, or one of Unicode's
/// bidirectional controls, which turn around what follows.
pub fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Spells a letter that [`acts`]: its picture, `␛`, or where Unicode has none its code, `<U+202E>`.
pub fn spelled(letter: char) -> String {
    match letter {
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(letter)).map_or_else(String::new, String::from)
        }
        '\u{7f}' => "\u{2421}".to_owned(),
        _ => format!("<U+{:04X}>", u32::from(letter)),
    }
}

/// Makes `text` safe to show: whatever [`acts`] is [`spelled`], but for line ends and tabs.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, acts_in_lines, spelled)
}

/// Makes `text` safe to show on one line: line ends and tabs are [`spelled`] as well.
pub fn plain_line(text: &str) -> Cow<'_, str> {
    replaced(text, acts, spelled)
}

/// Makes a JSON document safe to show, its content unchanged: only strings can hold what [`acts`],
/// and a string may spell it by its number.
pub fn escaped(document: &str) -> Cow<'_, str> {
    replaced(document, acts_in_lines, |letter| {
        format!("\\u{:04x}", u32::from(letter))
    })
}

/// Cuts a message that is too long, and says how much is left out: the middle, for the start says
/// what is wrong, and the end where it is and what helps.
pub fn brief(message: &str) -> Cow<'_, str> {
    if message.len() <= LONGEST {
        return Cow::Borrowed(message);
    }
    let head = boundary(message, KEPT);
    let tail = boundary(message, message.len() - KEPT);
    Cow::Owned(format!(
        "{}\n… {} bytes left out …\n{}",
        &message[..head],
        tail - head,
        &message[tail..]
    ))
}

fn acts_in_lines(letter: char) -> bool {
    acts(letter) && letter != '\n' && letter != '\t'
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

/// The last place up to `byte` that is no letter's middle.
fn boundary(text: &str, byte: usize) -> usize {
    let mut places = (0..=byte).rev();
    places.find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_is_shown_and_ordinary_text_is_untouched() {
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
        assert!(!plain_line(&all).contains(acts) && plain_line(&all).len() > all.len());
    }

    #[test]
    fn an_escaped_document_reads_back_the_same() {
        let text = "\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{202e}\u{2069}é\n\"\\";
        let document = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = escaped(&document);
        assert!(!shown.replace('\n', "").contains(acts), "{shown}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
    }

    #[test]
    fn a_long_message_keeps_its_ends_and_says_what_is_left_out() {
        let exact = "é".repeat(LONGEST / 2);
        assert_eq!(brief(&exact), exact);
        let long = format!("start {} end", "é".repeat(500_000));
        let cut = brief(&long);
        assert!(cut.len() <= LONGEST, "{}", cut.len());
        assert!(
            cut.starts_with("start é") && cut.ends_with("é end"),
            "{cut}"
        );
        let kept: usize = cut
            .split('\n')
            .filter(|line| !line.starts_with('…'))
            .map(str::len)
            .sum();
        assert!(
            cut.contains(&format!("\n… {} bytes left out …\n", long.len() - kept)),
            "{cut}"
        );
    }
}
