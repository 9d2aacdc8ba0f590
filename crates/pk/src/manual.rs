//! `--generate man`: the manual page, in the macros of `man(7)`. What is the same for all tools is
//! told at length in `pk(7)`, which is `../pk.7`.

use crate::Kind;
use crate::tool::{Description, value};
use std::fmt::Write;

/// What a reader who came for one tool should not have to look up in `pk(7)`.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PK_EXPLAIN", "1 is --explain, for this tool and for all that come after it in a chain."),
    ("PK_TRACE", "1 is --trace for the whole chain; json prints each step as a line of JSON."),
    ("PK_TRACE_FD", "The descriptor that the trace is printed to, standard error if not said."),
    (
        "PK_STEP",
        "1 stops before each step, on the terminal, where the keys are named. Names of tools, as in \
         pk-ns,pk-mounts, stop at these links of the chain only.",
    ),
    ("NO_COLOR", "Nothing is coloured, unless it is empty."),
];

pub(crate) fn page(description: &Description) -> String {
    let tool = description.tool;
    let (name, version) = (escape(tool.name), escape(tool.version));
    // Without a date: the same version makes the same page.
    let mut page = format!(".TH {} 1 \"\" \"pk {version}\" \"pk\"\n.nh\n", name.to_uppercase());
    let _ = write!(page, ".SH NAME\n{name} \\- {}\n", escape(&brief(description.summary)));

    page.push_str(".SH SYNOPSIS\n");
    for (index, usage) in description.usages().enumerate() {
        let line = if index == 0 { "" } else { ".br\n" };
        let _ = writeln!(page, "{line}\\fB{name}\\fR {}", shape(&usage));
    }
    page.push_str(".SH DESCRIPTION\n");
    page.push_str(&prose(description.summary));
    notes(&mut page, tool.notes);
    page.push_str(".SH OPTIONS\n");
    for option in &description.options {
        let short = option.short.map_or(String::new(), |letter| format!("\\fB\\-{letter}\\fR, "));
        let value = value(option).map_or(String::new(), |value| format!(" {}", shape(value)));
        let long = escape(option.long);
        let _ = write!(page, ".TP\n{short}\\fB{long}\\fR{value}\n{}", prose(option.description));
    }
    page.push_str(".SH EXIT STATUS\n");
    for (status, meaning) in statuses(tool.kind) {
        let _ = write!(page, ".TP\n{status}\n{}", prose(meaning));
    }
    page.push_str(".SH ENVIRONMENT\n");
    for (variable, meaning) in ENVIRONMENT {
        let _ = write!(page, ".TP\n.B {variable}\n{}", prose(meaning));
    }
    page.push_str(".SH EXAMPLES\n");
    for (index, (command, what)) in tool.examples.iter().enumerate() {
        let command = escape(&in_lines(command));
        let before = if index == 0 { "" } else { ".PP\n" };
        let what = prose(&format!("{}:", capitalized(what)));
        let _ = write!(page, "{before}{what}.PP\n.RS 4\n.EX\n{command}\n.EE\n.RE\n");
    }
    page.push_str(".SH SEE ALSO\n");
    let pages: Vec<&str> = tool.see_also.split(", ").chain(["pk(7)"]).collect();
    let reference = |page: &&str| {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        format!(".BR {} ({section}", escape(name))
    };
    let pages: Vec<String> = pages.iter().map(reference).collect();
    let _ = writeln!(page, "{}", pages.join(",\n"));
    page
}

/// Paragraphs, which are separated by empty lines; what is indented, such as a table, stays as it is.
fn notes(page: &mut String, notes: &str) {
    let lines: Vec<&str> = notes.lines().collect();
    let kind = |line: &str| (line.is_empty(), line.starts_with(' '));
    for block in lines.chunk_by(|one, next| kind(one) == kind(next)) {
        let _ = match kind(block[0]) {
            (true, _) => Ok(()),
            (_, true) => write!(page, ".PP\n.EX\n{}\n.EE\n", escape(&block.join("\n"))),
            (_, false) => write!(page, ".PP\n{}", prose(&block.join(" "))),
        };
    }
}

fn statuses(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Chain => &[
            ("125", "The tool itself failed; PROG was not run. Wrong options count as that."),
            ("126", "PROG was found, but cannot be run."),
            ("127", "PROG was not found."),
            ("else", "PROG's own. 128+n where signal n killed it."),
        ],
        Kind::Plain => {
            &[("0", "All is done."), ("1", "It failed."), ("2", "Wrong options or operands.")]
        }
    }
}

/// The first sentence as a list of tools shows it, without what is in brackets at its end.
fn brief(summary: &str) -> String {
    let sentence = summary.split(". ").next().unwrap_or_default();
    let sentence = sentence.split(" (").next().unwrap_or_default().trim_end_matches('.');
    let (first, rest) = sentence.split_at(sentence.len().min(1));
    first.to_lowercase() + rest
}

fn capitalized(text: &str) -> String {
    let (first, rest) = text.split_at(text.len().min(1));
    first.to_uppercase() + rest
}

/// A synopsis: what is to be typed as it stands in bold, what stands for something in italics.
fn shape(synopsis: &str) -> String {
    let mut text = String::new();
    let mut rest = synopsis;
    let class = |c: char| match c {
        'A'..='Z' | '_' => 'I',
        'a'..='z' | '0'..='9' | '-' | '+' => 'B',
        _ => 'R',
    };
    while let Some(font) = rest.chars().next().map(class) {
        let (run, after) = rest.split_at(rest.find(|c| class(c) != font).unwrap_or(rest.len()));
        match font {
            'R' => text.push_str(run),
            font => {
                let _ = write!(text, "\\f{font}{}\\fR", escape(run));
            }
        }
        rest = after;
    }
    text
}

/// Running text, a sentence a line, as roff wants it; names of options and tools in bold.
fn prose(text: &str) -> String {
    let word = |word: &str| {
        let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        if !core.starts_with("--") && !core.starts_with("pk-") {
            return escape(word);
        }
        let (before, after) = word.split_once(core).unwrap_or_default();
        format!("{}\\fB{}\\fR{}", escape(before), escape(core), escape(after))
    };
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace().map(word) {
        let end_of_sentence = lines.ends_with('.');
        if column > 0 && (end_of_sentence || column + 1 + word.len() > 79) {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        column += word.len();
        lines.push_str(&word);
    }
    lines.push('\n');
    lines
}

/// A command that does not fit between the page's margins: a link of the chain a line, and further
/// ones for the options that remain.
fn in_lines(command: &str) -> String {
    const MARGIN: usize = 66;
    let mut lines = String::new();
    let mut column = 0;
    for word in command.split(' ') {
        let full = word.starts_with("--") && column + 1 + word.len() > MARGIN;
        if column > 0 && command.len() > MARGIN && (word.starts_with("pk-") || full) {
            lines.push_str(" \\\n    ");
            column = 4;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.len();
    }
    lines
}

/// Text that roff prints as it is: quotes and hyphens as ASCII has them, so that what is copied
/// out of a page runs, and nothing at the start of a line is taken for a request.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut line_start = true;
    for c in text.chars() {
        match c {
            '.' if line_start => escaped.push_str("\\&."),
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '"' => escaped.push_str("\\(dq"),
            c if c.is_ascii() => escaped.push(c),
            c => {
                let _ = write!(escaped, "\\[u{:04X}]", u32::from(c));
            }
        }
        line_start = c == '\n';
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_a_request() {
        let table = [
            ("--user", r"\-\-user"),
            (".TH", r"\&.TH"),
            ("a\n.b", "a\n\\&.b"),
            ("'sh \\\n", "\\(aqsh \\e\n"),
            ("`a` ~ ^ \"", r"\(gaa\(ga \(ti \(ha \(dq"),
            ("more, …", r"more, \[u2026]"),
        ];
        for (text, expected) in table {
            assert_eq!(escape(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_synopsis_shows_what_is_to_be_typed() {
        let table = [
            ("[OPTION...] PROG", r"[\fIOPTION\fR...] \fIPROG\fR"),
            ("default|FILE", r"\fBdefault\fR|\fIFILE\fR"),
            ("--join PID", r"\fB\-\-join\fR \fIPID\fR"),
        ];
        for (synopsis, expected) in table {
            assert_eq!(shape(synopsis), expected, "{synopsis:?}");
        }
    }

    #[test]
    fn prose_is_a_sentence_a_line() {
        let long = format!("{} end", "word ".repeat(16));
        assert_eq!(prose(&long).lines().map(str::len).collect::<Vec<_>>(), [79, 3]);
        let text = "With --join, that. See pk-ns\n  (docker: --user).";
        let expected =
            "With \\fB\\-\\-join\\fR, that.\nSee \\fBpk\\-ns\\fR (docker: \\fB\\-\\-user\\fR).\n";
        assert_eq!(prose(text), expected);
    }

    #[test]
    fn what_is_indented_stays_as_it_is() {
        let mut page = String::new();
        notes(&mut page, "One,\ntwo.\n  a  b\n  .c\n\nThree.");
        assert_eq!(page, ".PP\nOne, two.\n.PP\n.EX\n  a  b\n  .c\n.EE\n.PP\nThree.\n");
    }

    #[test]
    fn a_name_is_followed_by_half_a_sentence() {
        let table = [
            ("Be PID 1 for PROG: reap orphans.", "be PID 1 for PROG: reap orphans"),
            ("Relay (docker: --tty).", "relay"),
            ("Enter a group. Without a name it is removed.", "enter a group"),
        ];
        for (summary, expected) in table {
            assert_eq!(brief(summary), expected);
        }
    }

    #[test]
    fn a_long_chain_is_a_link_a_line() {
        let long = "pk-ns --mount --pid pk-mounts --standard rootfs pk-chroot-exec rootfs sh";
        let expected = "pk-ns --mount --pid \\\n    pk-mounts --standard rootfs \\\n    pk-chroot-exec rootfs sh";
        assert_eq!(in_lines(long), expected);
        assert_eq!(in_lines("pk-ns --pid pk-init sh"), "pk-ns --pid pk-init sh");
    }
}
