//! `--generate bash`, `zsh` and `fish`: completions. How a shell is spoken to stands in a file in
//! its own language, `completion/`; here these are given the options and operands.
//!
//! What a value may be is told by how the help names it. `default|FILE` is the word `default` or a
//! file, `USER[:GROUP]` a user and, after a colon, a group. To a shell it is told as a list,
//! `@user :@group`: a kind or a word, after the character that separates it from what is before it.
//! A name of which nothing is known, such as NUMBER, completes to nothing.

use crate::Tool;
use crate::tool::{Description, value};
use argh::FlagInfo;
use std::collections::HashSet;
use std::fmt::Write;

/// What a placeholder stands for in every tool. PATH is not among them: it is a path inside ROOT,
/// where names are others than here.
const KINDS: [(&str, &str); 12] = [
    ("PROG", "@command"),
    ("FILE", "@file"),
    ("IMAGE", "@file"),
    ("SRC", "@file"),
    ("DIR", "@dir"),
    ("ROOT", "@dir"),
    ("STORE", "@dir"),
    ("LOWER", "@dir"),
    ("PID", "@pid"),
    ("USER", "@user"),
    ("GROUP", "@group"),
    ("VARIABLE", "@variable"),
];

const SEPARATORS: [char; 4] = [',', ':', '=', '/'];

/// What may stand for a value that help calls `name`.
fn choices(name: &str, tool: &Tool) -> Vec<String> {
    let mut choices = Vec::new();
    let mut separator = String::new();
    let mut before = "";
    for piece in name.split_inclusive(|c| c == '|' || SEPARATORS.contains(&c)) {
        let end = piece.find(|c| c == '|' || SEPARATORS.contains(&c));
        let (piece, next) = piece.split_at(end.unwrap_or(piece.len()));
        // One that has to follow is given with a word; one in brackets, or `,...`, may follow.
        let follows = if piece.ends_with('[') || name.contains(&format!("{piece}{next}...")) {
            ""
        } else {
            next.trim_matches(['|', ','])
        };
        let piece = piece.trim_matches(['[', ']', '.']);
        // `NAME,...` is more of the same.
        before = if piece.is_empty() { before } else { piece };
        let words = words(before, tool);
        if words.is_empty() && !separator.is_empty() {
            choices.push(separator.clone());
        }
        for word in words {
            let follows = if word.starts_with('@') { "" } else { follows };
            choices.push(format!("{separator}{word}{follows}"));
        }
        if next != "|" {
            next.clone_into(&mut separator);
        }
    }
    if choices.iter().all(|choice| choice.len() == 1) {
        choices.clear();
    }
    let mut seen = HashSet::new();
    choices.retain(|choice| seen.insert(choice.clone()));
    choices
}

/// What one piece of a name stands for: `FILE`, `default`, `+CAPABILITY`.
fn words(piece: &str, tool: &Tool) -> Vec<String> {
    let name = piece.trim_start_matches(['+', '-']);
    let sign = &piece[..piece.len() - name.len()];
    if let Some((_, kind)) = KINDS.iter().find(|(other, _)| name == *other) {
        return vec![(*kind).to_owned()];
    }
    if let Some((_, words)) = tool.words.iter().find(|(other, _)| name == *other) {
        return words().into_iter().map(|word| format!("{sign}{word}")).collect();
    }
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return vec![piece.to_owned()];
    }
    Vec::new()
}

/// An option, in all its spellings.
fn spellings(option: &FlagInfo) -> Vec<String> {
    let short = option.short.map(|letter| format!("-{letter}"));
    short.into_iter().chain([option.long.to_owned()]).collect()
}

/// What an option does, as a list of options has room for it: up to the first bracket or semicolon.
fn brief(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = [" (", "; "].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].to_owned()
}

/// The name of the shells' functions.
fn function(tool: &Tool) -> String {
    tool.name.replace('-', "_")
}

/// In single quotes, of which a shell has its own idea how they are written inside.
fn quoted(text: &str, quote: &str) -> String {
    format!("'{}'", text.replace('\'', quote))
}

/// The place of PROG among the operands, from 0; none for a tool that runs nothing.
fn program(operands: &[&str]) -> Option<usize> {
    operands.iter().position(|&operand| operand == "PROG")
}

pub(crate) fn bash(description: &Description) -> String {
    let tool = description.tool;
    let list = |name: &str| quoted(&choices(name, tool).join(" "), r"'\''");
    let (mut options, mut takes) = (Vec::new(), String::new());
    for option in &description.options {
        for spelling in spellings(option) {
            if let Some(name) = value(option) {
                let _ = write!(takes, "\n        [{spelling}]={}", list(name));
            }
            options.push(spelling);
        }
    }
    let operands = description.operands();
    let lists: Vec<String> = operands.iter().map(|name| list(name)).collect();
    include_str!("completion/bash")
        .replace("@TOOL@", tool.name)
        .replace("@FUNCTION@", &function(tool))
        .replace("@OPTIONS@", &options.join(" "))
        .replace("@TAKES@", &takes)
        .replace("@OPERANDS@", &lists.join(" "))
        .replace("@PROGRAM@", &program(&operands).map_or(String::new(), |place| place.to_string()))
}

pub(crate) fn zsh(description: &Description) -> String {
    let tool = description.tool;
    let function = function(tool);
    // Colons separate the parts of a specification; and what begins with = is a command's path.
    let action = |name: &str| {
        let message = name.replace(':', "\\:");
        match choices(name, tool).join(" ").replace(':', "\\:").replace(" =", " \\=") {
            list if list.is_empty() => format!(":{message}: "),
            list => format!(":{message}:_{function}_value {list}"),
        }
    };
    let mut arguments = Vec::new();
    for option in &description.options {
        let text = brief(option.description).replace('[', "\\[").replace(']', "\\]");
        let rest = value(option).map_or(String::new(), action);
        let repeatable = option.optionality == argh::Optionality::Repeating;
        let all = spellings(option);
        for spelling in &all {
            // One that may be given once excludes itself, in its other spelling.
            let before = if repeatable { "*".to_owned() } else { format!("({})", all.join(" ")) };
            let assigned = if rest.is_empty() || !spelling.starts_with("--") { "" } else { "=" };
            let specification = format!("{before}{spelling}{assigned}[{text}]{rest}");
            arguments.push(quoted(&specification, r"'\''"));
        }
    }
    let operands = description.operands();
    for (index, operand) in operands.iter().enumerate() {
        arguments.push(match program(&operands) {
            Some(place) if place == index => format!("'*:::PROG:_normal -p {}'", tool.name),
            _ => quoted(&format!("{}{}", index + 1, action(operand)), r"'\''"),
        });
    }
    include_str!("completion/zsh")
        .replace("@TOOL@", tool.name)
        .replace("@FUNCTION@", &function)
        .replace("@ARGUMENTS@", &arguments.join(" \\\n    "))
}

pub(crate) fn fish(description: &Description) -> String {
    let tool = description.tool;
    let (name, function) = (tool.name, function(tool));
    let list = |name: &str| choices(name, tool).join(" ");
    let (mut valued, mut lines) = (Vec::new(), Vec::new());
    for option in &description.options {
        let short = option.short.map_or(String::new(), |letter| format!(" -s {letter}"));
        let rest = match value(option) {
            None => String::new(),
            Some(value) => {
                valued.append(&mut spellings(option));
                match list(value) {
                    list if list.is_empty() => " -x".to_owned(),
                    list => format!(" -x -a '(__{function}_value {list})'"),
                }
            }
        };
        let text = quoted(&brief(option.description), r"\'");
        let long = option.long.trim_start_matches('-');
        let place = format!("complete -c {name} -n '__{function}_at 0'");
        lines.push(format!("{place}{short} -l {long}{rest} -d {text}"));
    }
    let operands = description.operands();
    for (index, operand) in operands.iter().enumerate() {
        lines.push(match program(&operands) {
            Some(place) if place == index => {
                let place = format!("complete -c {name} -n '__{function}_at {index}-'");
                format!("{place} -a '(__{function}_prog {index})'")
            }
            _ => {
                let place = format!("complete -c {name} -n '__{function}_at {index}'");
                format!("{place} -a '(__{function}_value {})'", list(operand))
            }
        });
    }
    include_str!("completion/fish")
        .replace("@TOOL@", name)
        .replace("@FUNCTION@", &function)
        .replace("@VALUED@", &valued.join(" "))
        .replace("@COMPLETIONS@", &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "pk-x",
        version: "0",
        operands: "ROOT PROG [ARG...]",
        kind: crate::Kind::Chain,
        words: &[("CAPABILITY", || vec!["CHOWN", "KILL"]), ("LIMIT", || vec!["core"])],
        notes: "",
        examples: &[],
        see_also: "",
    };

    #[test]
    fn a_value_may_be_what_its_name_says() {
        let table: &[(&str, &[&str])] = &[
            ("NUMBER", &[]),
            ("INNER:OUTER:COUNT", &[]),
            ("FILE", &["@file"]),
            ("default|FILE", &["default", "@file"]),
            ("private|slave", &["private", "slave"]),
            ("USER[:GROUP]", &["@user", ":@group"]),
            ("USER[:GROUP[,GROUP...]]", &["@user", ":@group", ",@group"]),
            ("LOWER[:LOWER...]", &["@dir", ":@dir"]),
            ("SRC:DST[:OPTION,...]", &["@file", ":", ","]),
            ("CAPABILITY,...", &["CHOWN", "KILL", ",CHOWN", ",KILL"]),
            ("LIMIT=SOFT[:HARD]", &["core=", "=", ":"]),
            ("VARIABLE[=VALUE]", &["@variable", "="]),
            (
                "none|all[,+CAPABILITY|,-CAPABILITY]...",
                &["none", "all", ",+CHOWN", ",+KILL", ",-CHOWN", ",-KILL"],
            ),
        ];
        for (name, expected) in table {
            assert_eq!(choices(name, &TOOL), *expected, "{name}");
        }
    }

    #[test]
    fn a_list_has_room_for_the_first_words() {
        assert_eq!(brief("run as this user; by\n name (docker: --user)"), "run as this user");
        assert_eq!(brief("a name of its own (repeatable; x)"), "a name of its own");
        assert_eq!(brief("a limit"), "a limit");
    }
}
