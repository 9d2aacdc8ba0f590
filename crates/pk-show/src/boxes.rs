//! A tree of namespaces drawn as boxes in boxes.

use crate::namespaces::Kind;
use crate::tree::{Inodes, Member, Node, Tree};
use std::collections::BTreeMap;

/// Where a pipe's lines end, and the narrowest box that is drawn.
const WIDTH: usize = 100;
const NARROWEST: usize = 24;
/// Up to so many processes are shown one by one.
const FEW: usize = 8;
/// A list of names ends after so many lines.
const LINES: usize = 3;

/// The tree as text, at most `width` columns wide.
pub fn draw(tree: &Tree, width: Option<usize>) -> String {
    let mut aside = Vec::new();
    if tree.kernel_threads > 0 {
        aside.push(format!("not shown: threads of the kernel: {}", tree.kernel_threads));
    }
    if tree.hidden > 0 {
        aside.push(format!("not shown: processes that you may not look at: {}", tree.hidden));
    }
    let width = width.unwrap_or(WIDTH).max(NARROWEST);
    let title = match tree.machine.namespaces.get(&Kind::Pid) {
        Some(&inode) if inode == Kind::Pid.initial() => "this machine".to_owned(),
        _ => format!("what is seen from here: {}", title(&tree.machine.namespaces)),
    };
    let lines = framed(&title, &inner(&tree.machine, width - 4, aside), width);
    lines.join("\n") + "\n"
}

/// The lines of a box with its frame, all of one width.
fn framed(title: &str, lines: &[String], width: usize) -> Vec<String> {
    let mut titles = wrapped(title, width - 4);
    let first = titles.remove(0);
    let used = first.chars().count();
    let mut framed = vec![format!("┌ {first} {}┐", "─".repeat(width - 4 - used))];
    let row = |text: &String| {
        let blanks = (width - 4).saturating_sub(text.chars().count());
        format!("│ {text}{} │", " ".repeat(blanks))
    };
    framed.extend(titles.iter().chain(lines).map(row));
    framed.push(format!("└{}┘", "─".repeat(width - 2)));
    framed
}

/// What stands in a box: its processes, and the boxes in it.
fn inner(content: &Node, width: usize, aside: Vec<String>) -> Vec<String> {
    let mut lines = list(&content.processes, width);
    lines.extend(aside);
    // A box that would be too narrow to read is not drawn but indented.
    let is_narrow = width < NARROWEST + 4;
    for one in &content.boxes {
        let title = title(&one.namespaces);
        if is_narrow {
            lines.push(title);
            lines.extend(inner(one, width, Vec::new()));
        } else {
            lines.extend(framed(&title, &inner(one, width - 4, Vec::new()), width));
        }
    }
    lines
}

/// `pid 4026532180, its own mount, uts`: the namespace that it is known by, and the kinds of the others.
fn title(namespaces: &Inodes) -> String {
    let known_by = [Kind::User, Kind::Pid];
    let nests = known_by.iter().filter_map(|kind| Some((kind, namespaces.get(kind)?)));
    let mut words: Vec<String> =
        nests.map(|(kind, inode)| format!("{} {inode}", kind.name())).collect();
    let others = namespaces.iter().filter(|(kind, _)| !known_by.contains(kind));
    words.extend(others.map(|(kind, inode)| format!("{} {inode}", kind.name())));
    words.join(", ")
}

/// A few processes one by one, many by their names.
fn list(processes: &[Member], width: usize) -> Vec<String> {
    if processes.is_empty() {
        return Vec::new();
    }
    if processes.len() <= FEW {
        return processes.iter().map(|one| cut(&one.text(), width)).collect();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for process in processes {
        *counts.entry(&process.name).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(name, count)| (usize::MAX - count, name));
    let words = counts.iter().map(|&(name, count)| match count {
        1 => name.to_owned(),
        _ => format!("{count} × {name}"),
    });
    let text = words.collect::<Vec<_>>().join(", ");
    let mut lines = wrapped(&format!("{} processes: {text}", processes.len()), width);
    if lines.len() > LINES {
        lines.truncate(LINES);
        let last = &mut lines[LINES - 1];
        *last = cut(&format!("{last} …"), width);
    }
    lines
}

impl Member {
    fn text(&self) -> String {
        let Self { pid, inside, name } = self;
        if pid == inside {
            format!("{pid} {name}")
        } else {
            format!("{pid} {name}, {inside} inside")
        }
    }
}

/// Broken between words into lines of at most `width`.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the start");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(cut(word, width));
        } else {
            let gap = if last.is_empty() { "" } else { " " };
            *last = cut(&format!("{last}{gap}{word}"), width);
        }
    }
    lines
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(namespaces: &[(Kind, u64)], names: &[&str], boxes: Vec<Node>) -> Node {
        let member =
            |(pid, name): (u32, &&str)| Member { pid, inside: pid, name: (*name).to_owned() };
        let processes = (10..).zip(names).map(member).collect();
        Node { namespaces: namespaces.iter().copied().collect(), processes, boxes }
    }

    #[test]
    fn boxes_stand_in_boxes() {
        let mut inner = node(&[(Kind::Pid, 9), (Kind::Uts, 7)], &["sh"], Vec::new());
        inner.processes[0].inside = 1;
        let machine = node(&[(Kind::Pid, Kind::Pid.initial())], &["init"], vec![inner]);
        let drawn = draw(&Tree { machine, kernel_threads: 2, hidden: 0 }, Some(40));
        let expected = "\
┌ this machine ────────────────────────┐
│ 10 init                              │
│ not shown: threads of the kernel: 2  │
│ ┌ pid 9, uts 7 ────────────────────┐ │
│ │ 10 sh, 1 inside                  │ │
│ └──────────────────────────────────┘ │
└──────────────────────────────────────┘
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn many_processes_are_few_lines() {
        let names: Vec<String> = (0..300).map(|number| format!("worker-{}", number % 90)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let lines = list(&node(&[], &names, Vec::new()).processes, 60);
        assert_eq!(lines.len(), LINES);
        assert!(lines[0].starts_with("300 processes: 4 × worker-0, 4 × worker-1, "), "{lines:?}");
        assert!(
            lines[LINES - 1].ends_with('…') && lines.iter().all(|line| line.chars().count() <= 60)
        );
    }

    #[test]
    fn what_does_not_fit_is_indented_no_more() {
        let deep = (0..12_u64).fold(node(&[], &["sh"], Vec::new()), |inner, inode| {
            node(&[(Kind::Pid, inode)], &["long-name-of-a-program"], vec![inner])
        });
        let drawn = draw(&Tree { machine: deep, kernel_threads: 0, hidden: 0 }, Some(40));
        assert!(drawn.lines().all(|line| line.chars().count() == 40), "{drawn}");
    }
}
