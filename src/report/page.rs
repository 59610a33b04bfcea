//! The frame of a page: one HTML file that loads nothing from any network.
//!
//! Its content-security policy allows only the page's point scripts and style sheet, by their
//! hashes, so that text inserted as markup by mistake could not run. All text passes through
//! [`plain`], which makes control characters visible.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::bars::Bars;
use super::figure::Figure;
use super::svg;
use super::tables::{numbers, table};
use crate::study::table::Table;
use crate::text::plain;

const STYLE: &str = concat!(
    include_str!("assets/uPlot.css"),
    "\n",
    include_str!("assets/report.css")
);
/// uPlot 1.6.32 by Leon Sorokin, MIT: `assets/LICENSE-uPlot`.
const UPLOT: &str = include_str!("assets/uPlot.min.js");
const SCRIPT: &str = include_str!("assets/report.js");

/// A page under construction.
#[derive(Debug, Default)]
pub struct Page {
    title: String,
    parts: Vec<Markup>,
    contents: Vec<(String, String)>,
    figures: Vec<Value>,
    pictures: Vec<(String, String)>,
    data: serde_json::Map<String, Value>,
    scripts: Vec<&'static str>,
}

/// The origin of the numbers of a figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The command that produced them, if it is known.
    pub command: Option<String>,
    /// The machine on which the command ran.
    pub machine: String,
}

impl Page {
    /// Creates an empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    /// Begins a section and lists it in the table of contents.
    pub fn section(&mut self, heading: &str) {
        let id = format!("section-{}", self.contents.len() + 1);
        self.parts.push(html! { h2 id=(id) { (plain(heading)) } });
        self.contents.push((id, heading.to_owned()));
    }

    /// Adds markup.
    pub fn add(&mut self, markup: Markup) {
        self.parts.push(markup);
    }

    /// Adds a warning to the reader.
    pub fn note(&mut self, note: &str) {
        self.parts
            .push(html! { p.note role="note" { (plain(note)) } });
    }

    /// Adds a list of sentences.
    pub fn sentences(&mut self, sentences: &[String]) {
        if !sentences.is_empty() {
            self.parts.push(html! {
                ul.sentences { @for sentence in sentences { li { (plain(sentence)) } } }
            });
        }
    }

    /// Adds a table under a caption.
    pub fn table(&mut self, caption: &str, data: &Table) {
        self.parts.push(table(caption, data));
    }

    /// Passes `value` to the scripts, under `name`.
    pub fn data(&mut self, name: &str, value: Value) {
        self.data.insert(name.to_owned(), value);
    }

    /// Adds the origins of what is shown above.
    pub fn source(&mut self, origins: &[Origin]) {
        self.parts.push(source(origins));
    }

    /// Adds a script of this crate.
    pub fn script(&mut self, script: &'static str) {
        self.scripts.push(script);
    }

    /// Adds a figure. Instead of a figure without points, it adds a note.
    pub fn figure(&mut self, figure: &Figure, origins: &[Origin]) {
        let id = format!("figure-{}", self.figures.len() + 1);
        if figure.is_empty() {
            self.note(&format!(
                "{}: no points to draw. {}",
                figure.title,
                figure.notes.join(" ")
            ));
            return;
        }
        let mut value = figure.value();
        value["id"] = json!(id);
        self.figures.push(value);
        let picture = svg::draw(figure);
        self.keep(&figure.title, &picture);
        self.parts.push(html! {
            figure.plot id=(id) {
                figcaption {
                    h3 { (plain(&figure.title)) }
                    @if !figure.caption.is_empty() { p { (plain(&figure.caption)) } }
                }
                div.static { (picture) }
                @for note in &figure.notes { p.note role="note" { (plain(note)) } }
                details { summary { "Data table" } (numbers(figure)) }
                (source(origins))
            }
        });
    }

    /// Adds a figure of bars. Without bars, it adds nothing.
    pub fn bars(&mut self, bars: &Bars, origins: &[Origin]) {
        if bars.groups.is_empty() {
            return;
        }
        let [wide, narrow] = [true, false].map(|wide| bars.draw(wide, false));
        self.keep(&bars.title, &bars.draw(true, true));
        self.parts.push(html! {
            figure.plot {
                figcaption { h3 { (plain(&bars.title)) } p { (plain(&bars.caption)) } }
                div.static.wide { (wide) }
                div.static.narrow { (narrow) }
                details { summary { "Data table" } (table(&bars.title, &bars.numbers())) }
                (source(origins))
            }
        });
    }

    /// Keeps a picture as a separate file, named after `title`.
    fn keep(&mut self, title: &str, picture: &Markup) {
        let mut name = name(title);
        if self.pictures.iter().any(|(other, _)| *other == name) {
            name = format!("{name}-{}", self.pictures.len() + 1);
        }
        self.pictures.push((name, picture.clone().into_string()));
    }

    /// Adds what `write` writes, collapsed under `summary`.
    pub fn collapsed(&mut self, summary: &str, write: impl FnOnce(&mut Self)) {
        let before = self.parts.len();
        write(self);
        let parts = self.parts.split_off(before);
        self.parts.push(html! {
            details { summary { (plain(summary)) } @for part in &parts { (part) } }
        });
    }

    /// Returns the name of each figure, usable as a file name, and its picture.
    pub fn pictures(&self) -> &[(String, String)] {
        &self.pictures
    }

    /// Renders the page as HTML, dated `date`.
    pub fn render(mut self, date: &str) -> String {
        self.data
            .insert("figures".to_owned(), Value::Array(self.figures));
        let data = Value::Object(self.data).to_string();
        let data = without_markup(&data);
        let mut scripts = vec![UPLOT, SCRIPT];
        scripts.extend(self.scripts);
        let hashes: Vec<String> = scripts.iter().map(|script| hash(script)).collect();
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data: blob:; base-uri 'none'; form-action 'none'",
            hashes.join(" "),
            hash(STYLE)
        );
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content=(concat!("nplus1 ", env!("CARGO_PKG_VERSION")));
                    title { (plain(&self.title)) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { bdi { (plain(&self.title)) } }
                        @if self.contents.len() > 1 {
                            nav aria-label="Contents" {
                                ul {
                                    @for (id, heading) in &self.contents {
                                        li { a href=(format!("#{id}")) { bdi { (plain(heading)) } } }
                                    }
                                }
                            }
                        }
                    }
                    main { @for part in &self.parts { (part) } }
                    footer {
                        p {
                            "Made by nplus1 " (env!("CARGO_PKG_VERSION")) " on " time datetime=(date) { (date) }
                            ". Plots: uPlot 1.6.32, © 2022 Leon Sorokin, MIT license."
                        }
                    }
                    script type="application/json" id="data" { (PreEscaped(data)) }
                    @for script in &scripts { script { (PreEscaped(*script)) } }
                }
            }
        };
        page.into_string()
    }
}

/// Makes a file name of a title: `Accuracy against time` becomes `accuracy-against-time`.
fn name(title: &str) -> String {
    let letters = title.to_lowercase();
    let words = letters.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// Escapes the characters of a JSON text that could end a script element or take effect in a page.
/// They occur only in strings, where JSON allows `\uXXXX` instead.
fn without_markup(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", letter as u32));
            }
            _ => text.push(letter),
        }
    }
    text
}

/// Renders the distinct origins.
fn source(origins: &[Origin]) -> Markup {
    let mut distinct: Vec<&Origin> = Vec::new();
    for origin in origins {
        if !distinct.contains(&origin) {
            distinct.push(origin);
        }
    }
    html! {
        @for origin in distinct {
            p.source {
                @if let Some(command) = &origin.command { code { (plain(command)) } " · " }
                (plain(&origin.machine))
            }
        }
    }
}

/// Returns the source expression by which the policy allows `text`: `'sha256-…'`.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::{Axis, Mark, Series};

    const HOSTILE: &str = "</script><script>alert(1)</script>\"'&\u{0}\u{1b}[31m\u{202e}";

    #[test]
    fn hostile_text_stays_text() {
        let mut page = Page::new(HOSTILE);
        page.section(HOSTILE);
        page.note(HOSTILE);
        page.sentences(&[HOSTILE.to_owned()]);
        let mut data = Table::new([HOSTILE]);
        data.row([HOSTILE]);
        page.table(HOSTILE, &data);
        let origin = Origin {
            command: Some(HOSTILE.to_owned()),
            machine: HOSTILE.to_owned(),
        };
        let series = vec![Series::new(HOSTILE, Mark::Dots, 0, [(1.0, 2.0)])];
        let axes = [Axis::new(HOSTILE), Axis::new(HOSTILE)];
        page.figure(&Figure::new(HOSTILE, HOSTILE, axes, series), &[origin]);
        let page = page.render("2026-01-01");
        assert_eq!(page.matches("<script").count(), 3, "data and two scripts");
        assert_eq!(page.matches("</script").count(), 3);
        assert!(!page.contains('\u{0}') && !page.contains('\u{1b}'));
        assert!(page.contains("␀␛[31m&lt;U+202E&gt;"), "shown, each letter");
        assert!(page.contains("alert(1)"), "no letter is lost");
        let data = page.split("id=\"data\">").nth(1).unwrap();
        let data: Value = serde_json::from_str(data.split("</script").next().unwrap()).unwrap();
        assert_eq!(data["figures"][0]["series"][0]["label"], HOSTILE);
    }

    #[test]
    fn a_page_loads_nothing_from_elsewhere() {
        let page = Page::new("t").render("2026-01-01");
        for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'") && !page.contains("unsafe-inline"));
    }

    #[test]
    fn a_figure_without_points_becomes_a_note() {
        let mut page = Page::new("t");
        let figure = Figure::new("Loss", "", [Axis::new("x"), Axis::new("y")], Vec::new());
        page.figure(&figure, &[]);
        let page = page.render("2026-01-01");
        assert!(page.contains("Loss: no points to draw") && !page.contains("<svg"));
    }
}
