//! The config, the program and the machine of a run or study, as a page shows them.

use maud::html;
use toml_edit::{DocumentMut, Item};

use super::page::Page;
use super::source::CommonContent;
use super::tables::table;
use crate::memory::bytes;
use crate::run::Environment;
use crate::study::table::Table;
use crate::text::plain;

/// Writes the config, and program and machine, each in a collapsed block.
pub fn write(page: &mut Page, common: &CommonContent) {
    page.add(html! {
        @if let Some(config) = &common.config {
            details {
                summary { "Config" }
                pre tabindex="0" { code { (plain(config)) } }
            }
        }
        @if let Some(environment) = &common.environment {
            details {
                summary { "Program and machine" }
                (table("Program and machine", &machine(environment)))
            }
        }
    });
}

/// Returns the value of `key` in `[section]` of the config, as text.
pub fn value(common: &CommonContent, section: &str, key: &str) -> Option<String> {
    let document: DocumentMut = common.config.as_ref()?.parse().ok()?;
    let item = document.get(section)?.get(key)?;
    Some(match item {
        Item::Value(value) => match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string().trim().to_owned(),
        },
        _ => return None,
    })
}

/// Returns the name in the config, or the label of the directory if there is none.
pub fn name(common: &CommonContent) -> String {
    let document: Option<DocumentMut> = common.config.as_ref().and_then(|text| text.parse().ok());
    let name = document.and_then(|document| Some(document.get("name")?.as_str()?.to_owned()));
    name.unwrap_or_else(|| common.label.clone())
}

fn machine(environment: &Environment) -> Table {
    let mut rows = Table::default();
    let caches: Vec<String> = (environment.caches.iter())
        .map(|cache| {
            format!(
                "L{} {} {}",
                cache.level,
                cache.kind,
                bytes(cache.bytes as f64)
            )
        })
        .collect();
    let entries = [
        ("nplus1", Some(environment.version.clone())),
        ("commit", environment.commit.clone()),
        ("command", environment.command.clone()),
        ("processor", environment.cpu.clone()),
        (
            "physical cores",
            Some(environment.physical_cores.to_string()),
        ),
        ("logical cores", Some(environment.logical_cores.to_string())),
        ("caches", (!caches.is_empty()).then(|| caches.join(", "))),
        (
            "memory",
            environment.memory.map(|memory| bytes(memory as f64)),
        ),
        (
            "system",
            Some(format!("{} on {}", environment.os, environment.arch)),
        ),
        ("vector features", Some(environment.features.join(", "))),
        ("kernel", Some(environment.kernel.clone())),
        ("threads", Some(environment.threads.to_string())),
    ];
    for (label, entry) in entries {
        if let Some(entry) = entry {
            rows.row([label.to_owned(), entry]);
        }
    }
    rows
}
