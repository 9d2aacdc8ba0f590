//! How states and differences look to people.

use crate::difference::{Change, Difference};
use crate::fact::{Fact, Topic};
use crate::text::harmless;
use pk::Paint;
use std::io::IsTerminal;

/// Where the text goes.
pub struct Page {
    is_terminal: bool,
    paint: Paint,
    /// Where lines of a terminal end; those of a pipe do not.
    width: Option<usize>,
}

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Title,
    Aside,
    Before,
    After,
}

impl Page {
    pub fn of_standard_output() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
        let width = size.ok().map(|size| usize::from(size.ws_col)).filter(|&width| width > 0);
        let paint = Paint::of(std::io::stdout());
        Self { is_terminal, paint, width: width.filter(|_| is_terminal) }
    }

    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// A line of pieces. Where it is longer than a terminal's it goes on below, at `indent`.
    fn line(&self, indent: usize, pieces: &[(Style, &str)]) -> String {
        let width = self.width.unwrap_or(usize::MAX);
        let mut line = String::new();
        let mut column = 0;
        let mut blanks = String::new();
        for &(style, text) in pieces {
            // A state that was saved can hold what somebody else has put there.
            let text = harmless(text);
            for word in text.split_inclusive(' ') {
                let bare = word.trim_end_matches(' ');
                let length = bare.chars().count();
                if length > 0 && column + blanks.len() + length > width && column > indent {
                    line += "\n";
                    column = 0;
                    blanks = " ".repeat(indent);
                }
                if length > 0 {
                    line += &blanks;
                    line += &self.styled(style, bare);
                    column += blanks.len() + length;
                    blanks.clear();
                }
                blanks += &word[bare.len()..];
            }
        }
        line.push('\n');
        line
    }

    fn styled(&self, style: Style, text: &str) -> String {
        match style {
            Style::Plain => text.to_owned(),
            Style::Title => self.paint.bold(text),
            Style::Aside => self.paint.dim(text),
            Style::Before => self.paint.red(text),
            Style::After => self.paint.green(text),
        }
    }

    /// A line for each fact: topic, name, columns.
    pub fn table(&self, facts: Vec<Fact>) -> String {
        let facts = gathered(facts);
        let sections = facts.chunk_by(|one, next| one.topic == next.topic);
        sections.map(|section| self.section(section)).collect()
    }

    fn section(&self, facts: &[Fact]) -> String {
        let names = width(facts.iter().map(|fact| fact.name.as_str()), NAMES);
        let rows: Vec<Vec<String>> = facts.iter().map(Fact::columns).collect();
        let most = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..most)
            .map(|column| {
                let cells = rows.iter().filter(|row| row.len() > column + 1);
                width(cells.map(|row| row[column].as_str()), COLUMN)
            })
            .collect();
        let section_is_named = facts.iter().any(|fact| !fact.name.is_empty());
        let mut text = String::new();
        for (index, (fact, row)) in facts.iter().zip(&rows).enumerate() {
            let title = if index == 0 { fact.topic.title() } else { "" };
            let title = format!("{title:TITLES$}");
            let gap = if section_is_named { "  " } else { "" };
            let name = format!("{:names$}{gap}", fact.name);
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}  ")).collect();
            let mut pieces = vec![(Style::Title, title.as_str()), (Style::Plain, &name)];
            let known = if fact.value.is_err() { Style::Aside } else { Style::Plain };
            for (column, cell) in cells.iter().enumerate() {
                let is_note = !fact.note.is_empty() && column + 1 == cells.len();
                let is_note = is_note && fact.topic != Topic::Descriptor;
                pieces.push((if is_note { Style::Aside } else { known }, cell));
            }
            text += &self.line(TITLES + name.chars().count().min(names + 2), &pieces);
        }
        text
    }

    /// A line for each change, and below it what makes it.
    pub fn difference(&self, difference: &Difference) -> String {
        let mut text = String::new();
        let mut topic = None;
        let changes = &difference.changes;
        // A script is told by silence, who looks at a terminal in words.
        if changes.is_empty() && self.is_terminal {
            text += &self.line(0, &[(Style::Aside, "nothing differs")]);
        }
        for alike in
            changes.chunk_by(|one, next| (one.topic, one.cause) == (next.topic, next.cause))
        {
            let title = if topic == Some(alike[0].topic) { "" } else { alike[0].topic.title() };
            topic = Some(alike[0].topic);
            let same = changes.iter().filter(|change| Some(change.topic) == topic);
            let names =
                width(same.map(Change::name).collect::<Vec<_>>().iter().map(String::as_str), NAMES);
            text += &self.changes(alike, title, names);
            let cause = alike[0].cause.text();
            let blank = " ".repeat(TITLES);
            text += &self.line(TITLES + 2, &[(Style::Plain, &blank), (Style::Aside, &cause)]);
        }
        for (reason, names) in &difference.unknown {
            let line = format!("not compared ({reason}): {}", names.join(", "));
            text += &self.line(2, &[(Style::Aside, &line)]);
        }
        text
    }

    /// Changes with one cause. Of what is gone, and of descriptors, the names say all.
    fn changes(&self, changes: &[Change], title: &str, names: usize) -> String {
        let is_bare = |change: &Change| match change.topic {
            Topic::Mount => change.after.is_none(),
            Topic::Descriptor => change.before.is_none() || change.after.is_none(),
            _ => false,
        };
        let mut text = String::new();
        let mut title = format!("{title:TITLES$}");
        for run in changes.chunk_by(|one, next| is_bare(one) && is_bare(next)) {
            let first = &run[0];
            let name = if is_bare(first) { String::new() } else { first.name() };
            let name = if name.is_empty() { name } else { format!("{name:names$}  ") };
            let list: Vec<String> = run.iter().map(Change::name).collect();
            let list = list.join(" ");
            let [before, after] = [&first.before, &first.after].map(|text| {
                text.as_deref().map(|text| if is_bare(first) { &list[..] } else { text })
            });
            let mut pieces = vec![(Style::Title, title.as_str()), (Style::Plain, name.as_str())];
            match (before, after) {
                (Some(before), Some(after)) => {
                    pieces.extend([(Style::Before, before), (Style::Plain, " -> ")]);
                    pieces.push((Style::After, after));
                }
                (Some(gone), None) => pieces.extend([(Style::Before, "- "), (Style::Plain, gone)]),
                (None, Some(new)) => pieces.extend([(Style::After, "+ "), (Style::Plain, new)]),
                (None, None) => {}
            }
            text += &self.line(TITLES + name.chars().count().min(names + 2), &pieces);
            title = " ".repeat(TITLES);
        }
        text
    }
}

/// The width of the column of topics, and the most of those of names and values: a longer one
/// moves only its own line.
const TITLES: usize = 14;
const NAMES: usize = 26;
const COLUMN: usize = 12;

fn width<'a>(cells: impl Iterator<Item = &'a str>, most: usize) -> usize {
    cells.map(|cell| cell.chars().count()).filter(|&width| width <= most).max().unwrap_or(0)
}

/// Facts of some topics that say the same, in one line.
fn gathered(facts: Vec<Fact>) -> Vec<Fact> {
    let mut lines: Vec<Fact> = Vec::new();
    for fact in facts {
        let is_like = |line: &&mut Fact| {
            (line.topic, &line.value, &line.note) == (fact.topic, &fact.value, &fact.note)
        };
        match lines.iter_mut().find(is_like).filter(|_| fact.topic.is_gathered()) {
            Some(line) => {
                format!("{} {}", line.name, fact.name).trim_start().clone_into(&mut line.name);
            }
            None => lines.push(fact),
        }
    }
    lines
}
