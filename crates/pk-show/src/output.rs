//! What is done with a state that was read: shown, saved, compared, asserted.

use crate::assertion::Assertions;
use crate::difference::Difference;
use crate::state::State;
use crate::table::Page;
use crate::tree::Tree;
use crate::{Seen, TOOL, boxes};
use pk::{Attempt, Result, Steps};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

pub struct Output {
    json: bool,
    save: Option<PathBuf>,
    reference: Option<State>,
    assertions: Option<Assertions>,
}

impl Output {
    /// FILE of `--diff` is read now: it may be the one that `--save` writes.
    pub fn settle(
        json: bool,
        save: Option<PathBuf>,
        diff: Option<&Path>,
        assertions: Option<Assertions>,
    ) -> Result<Self> {
        let reference = diff.map(State::load).transpose()?;
        Ok(Self { json, save, reference, assertions })
    }

    pub fn add_steps(self, steps: &mut Steps<Seen>) {
        let Self { json, save, reference, assertions } = self;
        let is_shown = json || (save.is_none() && assertions.is_none());
        if let Some(file) = save {
            steps.add(
                "to be compared with later",
                format!("open({file:?}, O_WRONLY|O_CREAT|O_TRUNC), write(STATE)"),
                format!("pk-show --json > {}", pk::quote(&file)),
                move |seen| write(&file, &seen.state.json()),
            );
        }
        match (assertions, reference) {
            (Some(assertions), reference) => steps.add(
                "each thing that is not so is a line on standard error",
                "compare(STATE, LIST)",
                "pk-show --json | jq --exit-status ...",
                move |seen| assert(&assertions, &seen.state, reference.as_ref()),
            ),
            (None, Some(reference)) => steps.add(
                "what is not as it was, and what makes it so",
                "write(1, DIFFERENCE)",
                "pk-show --json | diff FILE -",
                move |seen| {
                    let difference = Difference::between(&reference, &seen.state);
                    print(&if json {
                        difference.json()
                    } else {
                        Page::of_standard_output().difference(&difference)
                    })
                },
            ),
            (None, None) if is_shown => steps.add(
                "for people a table, for programs JSON",
                "write(1, STATE)",
                "pk-show --json | jq .",
                move |seen| {
                    print(&if json {
                        seen.state.json()
                    } else {
                        Page::of_standard_output().table(seen.state.facts())
                    })
                },
            ),
            (None, None) => {}
        }
    }
}

/// `--tree`.
pub fn add_tree_steps(steps: &mut Steps<Seen>, json: bool) {
    steps.add(
        "where each process is, and what that is nested in",
        "readlink(/proc/*/ns/*), ioctl(NS_GET_PARENT), ioctl(NS_GET_USERNS)",
        "lsns --output-all",
        move |_| {
            let tree = Tree::read()?;
            let width = Page::of_standard_output().width();
            print(&if json { tree.json() } else { boxes::draw(&tree, width) })
        },
    );
}

fn assert(assertions: &Assertions, state: &State, reference: Option<&State>) -> Result<()> {
    let mut failures = assertions.failures(state, reference);
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        failure.print(TOOL.name);
    }
    Err(last)
}

fn write(file: &Path, text: &str) -> Result<()> {
    let result = File::create(file).and_then(|mut file| file.write_all(text.as_bytes()));
    result.attempt(format_args!("open({file:?})"))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).attempt("write(1)")
}
