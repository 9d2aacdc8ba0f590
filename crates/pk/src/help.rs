//! `--help`: usage, options, notes and examples, within the width of a terminal.

use crate::tool::{Description, value};
use std::fmt::Write;

const WIDTH: usize = 96;

pub(crate) fn help(description: &Description) -> String {
    let mut text = String::new();
    for (index, usage) in description.usages().enumerate() {
        let label = if index == 0 { "usage:" } else { "      " };
        let _ = writeln!(text, "{label} {} {usage}", description.tool.name);
    }
    text.push('\n');
    wrap(&mut text, description.summary, 0);
    text.push('\n');
    options(&mut text, description);
    if !description.tool.notes.is_empty() {
        let _ = write!(text, "\n{}\n", description.tool.notes.trim_end());
    }
    examples(&mut text, description.tool.examples);
    text
}

fn options(text: &mut String, description: &Description) {
    let name = |option: &&argh::FlagInfo| {
        let short = option.short.map_or("   ".to_owned(), |letter| format!("-{letter},"));
        let value = value(option).map_or(String::new(), |value| format!(" {value}"));
        format!("{short} {}{value}", option.long)
    };
    let names: Vec<String> = description.options.iter().map(name).collect();
    let column = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(30);
    for (name, option) in names.iter().zip(&description.options) {
        // A name that is too long for the column has the first line for itself.
        let next = if name.chars().count() > column { column + 4 } else { 2 };
        let line = if next > 2 { "\n" } else { "" };
        let _ = write!(text, "  {name:column$}{line}{:next$}", "");
        wrap(text, option.description, column + 4);
    }
}

/// What an example is for stands behind it, as a shell's comment, or above where there is no room.
fn examples(text: &mut String, examples: &[(&str, &str)]) {
    let longest = |lengths: fn(&(&str, &str)) -> usize| examples.iter().map(lengths).max();
    let column = longest(|(command, _)| command.len()).unwrap_or(0);
    let room = column + longest(|(_, what)| what.len()).unwrap_or(0) + "    # ".len() <= WIDTH;
    for (index, (command, what)) in examples.iter().enumerate() {
        let space = if index == 0 { "\n" } else { "" };
        let _ = if room {
            writeln!(text, "{space}  {command:column$}  # {what}")
        } else {
            writeln!(text, "{space}  # {what}\n  {command}")
        };
    }
}

/// Appends `words` broken into lines; the first one starts where `text` ends, at `indent`.
fn wrap(text: &mut String, words: &str, indent: usize) {
    let mut column = indent;
    for (index, word) in words.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}
