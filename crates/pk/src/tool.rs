//! What a tool says of itself: the one definition of its help, man page and completions.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

/// What a tool says of itself, for its help, its manual, its errors and its exit status.
pub struct Tool {
    /// The name, which is the binary's.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// The operands as the usage line shows them, such as `PROG [ARG...]`. Each further line is
    /// another way of use: options and operands.
    pub operands: &'static str,
    /// How it exits.
    pub kind: Kind,
    /// Placeholders in the names of values that stand for one of a few words, which are shown
    /// when a value is completed.
    pub words: &'static [(&'static str, Words)],
    /// What is to be known beside the options: paragraphs.
    pub notes: &'static str,
    /// Commands to try, and what each is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// Manual pages to go on with, such as `unshare(1), namespaces(7)`.
    pub see_also: &'static str,
}

/// A few words, of which one is to be chosen.
pub type Words = fn() -> Vec<&'static str>;

/// The two shapes of tools, which differ in their exit status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Ends by exec'ing PROG: 125 is the tool's own failure, 126 and 127 PROG's, as `env(1)` has it.
    Chain,
    /// Does its work and ends: 0, 1 failed, 2 usage.
    Plain,
}

/// A tool, with the options that argh knows of it and those that every tool has.
pub(crate) struct Description<'a> {
    pub tool: &'a Tool,
    /// One sentence, or two.
    pub summary: &'static str,
    pub options: Vec<&'static FlagInfo<'static>>,
}

const fn common(
    long: &'static str,
    short: Option<char>,
    kind: FlagInfoKind<'static>,
    description: &'static str,
) -> FlagInfo<'static> {
    FlagInfo { kind, optionality: Optionality::Optional, long, short, description, hidden: false }
}

/// What `--generate` takes.
pub(crate) const FORMATS: &str = "man|bash|zsh|fish";

/// The options that every tool has.
static COMMON: [FlagInfo; 5] = [
    common(
        "--explain",
        None,
        FlagInfoKind::Switch,
        "print the steps and the commands that do the same; do nothing",
    ),
    common(
        "--trace",
        None,
        FlagInfoKind::Switch,
        "print each step on standard error as it is done",
    ),
    common(
        "--generate",
        None,
        FlagInfoKind::Option { arg_name: FORMATS },
        "print the man page, or the completion of a shell",
    ),
    common("--help", Some('h'), FlagInfoKind::Switch, "print this help"),
    common("--version", Some('V'), FlagInfoKind::Switch, "print the version"),
];

impl<'a> Description<'a> {
    pub fn new(tool: &'a Tool, info: &CommandInfoWithArgs) -> Self {
        let own = info.flags.iter().filter(|flag| flag.long != "--help" && !flag.hidden);
        Self { tool, summary: info.description, options: own.chain(&COMMON).collect() }
    }

    /// The ways of use: each is what follows the tool's name.
    pub fn usages(&self) -> impl Iterator<Item = String> {
        let lines = self.tool.operands.lines().enumerate();
        // A tool without operands has one way of use all the same.
        let lines = lines.chain((self.tool.operands.is_empty()).then_some((0, "")));
        lines.map(|(index, line)| match index {
            0 => format!("[OPTION...] {line}").trim_end().to_owned(),
            _ => line.to_owned(),
        })
    }

    /// The operands of the first way of use, by name. PROG is the last one: what follows is its own.
    pub fn operands(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for word in self.tool.operands.lines().next().unwrap_or_default().split_whitespace() {
            names.push(word.trim_matches(['[', ']', '.']));
            if names.ends_with(&["PROG"]) {
                break;
            }
        }
        names
    }
}

/// What stands for a value of this option.
pub(crate) fn value<'a>(option: &FlagInfo<'a>) -> Option<&'a str> {
    match option.kind {
        FlagInfoKind::Switch => None,
        FlagInfoKind::Option { arg_name } => Some(arg_name),
    }
}
