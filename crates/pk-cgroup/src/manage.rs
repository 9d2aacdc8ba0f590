//! The steps for a named group that is there: `--stat`, `--kill`, `--freeze`, `--thaw`, `--remove`.

use crate::State;
use crate::directory::{self, PATIENCE, lineage};
use crate::hierarchy::Hierarchy;
use crate::placement::Place;
use crate::stat;
use pk::{Error, Result, Steps, quote};
use std::path::{Path, PathBuf};

/// What is to be done with a named group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    Stat,
    Kill,
    Freeze,
    Thaw,
    Remove,
}

impl Verb {
    const ALL: [Self; 5] = [Self::Stat, Self::Kill, Self::Freeze, Self::Thaw, Self::Remove];

    /// The one that is asked for, if any; `asked` is in the order of [`Self::ALL`].
    pub fn choose(asked: [bool; 5]) -> Result<Option<Self>> {
        let verbs = Self::ALL.into_iter().zip(asked);
        let mut verbs = verbs.filter_map(|(verb, is_asked)| is_asked.then_some(verb));
        let first = verbs.next();
        match (first, verbs.next()) {
            (Some(first), Some(second)) => {
                let reason = format!("does not go together with {}", first.option());
                Err(Error::usage(second.option(), reason))
            }
            _ => Ok(first),
        }
    }

    /// The option as it was typed.
    pub fn option(self) -> &'static str {
        match self {
            Self::Stat => "--stat",
            Self::Kill => "--kill",
            Self::Freeze => "--freeze",
            Self::Thaw => "--thaw",
            Self::Remove => "--remove",
        }
    }
}

/// Does it to the group.
pub fn manage(verb: Verb, place: &Place) -> Result<Steps<State>> {
    let groups = place.existing(&Hierarchy::find()?)?;
    let mut steps = Steps::new(State::default());
    match verb {
        Verb::Stat => stat(&mut steps, &groups, place.name.as_str().to_owned()),
        Verb::Kill => groups.into_iter().for_each(|group| kill(&mut steps, group)),
        Verb::Freeze => freeze(&mut steps, &groups, true)?,
        Verb::Thaw => freeze(&mut steps, &groups, false)?,
        Verb::Remove => remove(&mut steps, groups),
    }
    Ok(steps)
}

fn stat(steps: &mut Steps<State>, groups: &[PathBuf], name: String) {
    for file in stat::files(groups) {
        steps.add(
            "usage and limits are text in the group's files",
            format!("read({file:?})"),
            format!("cat {}", quote(&file)),
            move |state| state.contents.read(&file),
        );
    }
    steps.add(
        "one line of JSON, the same for v1 and v2",
        "write(1)",
        ": # no command does it",
        move |state| state.contents.print(&name),
    );
}

fn kill(steps: &mut Steps<State>, group: PathBuf) {
    let file = group.join("cgroup.kill");
    let call = if file.exists() {
        format!("write({file:?}, \"1\")")
    } else {
        format!("kill({:?}, SIGKILL)", group.join("cgroup.procs"))
    };
    let why = "everything in the group and below it ends; then it can be removed";
    steps.add(why, call, killing(&group), move |_| directory::kill(&group, PATIENCE));
}

/// What kills a group in shell. Only v2 has a file for it, and only below its root.
pub fn killing(group: &Path) -> String {
    let is_v2 = lineage(group).any(|group| group.join("cgroup.controllers").exists());
    if is_v2 {
        format!("echo 1 > {}", quote(group.join("cgroup.kill")))
    } else {
        // Who has ended meanwhile is nobody to complain of.
        format!("xargs -r kill -KILL < {} 2> /dev/null", quote(group.join("cgroup.procs")))
    }
}

fn freeze(steps: &mut Steps<State>, groups: &[PathBuf], frozen: bool) -> Result<()> {
    // One hierarchy does it: the processes are the same in all of them.
    let able = groups.iter().find(|group| directory::freezing(group, frozen).is_ok());
    let group = able.unwrap_or(&groups[0]).clone();
    let (file, value) = directory::freezing(&group, frozen)?;
    steps.add(
        if frozen { "no process of the group runs until it is thawed" } else { "they go on" },
        format!("write({file:?}, {value:?})"),
        format!("echo {value} > {}", quote(&file)),
        move |_| directory::freeze(&group, frozen),
    );
    Ok(())
}

fn remove(steps: &mut Steps<State>, groups: Vec<PathBuf>) {
    for group in groups.clone() {
        // Of all parts, before any is removed: a group is not taken apart under its processes.
        steps.check(move |_| {
            if !directory::is_populated(&group)? {
                return Ok(());
            }
            let call = format!("rmdir({group:?})");
            Err(Error::new(call, "processes are in it").hint("--kill ends them".to_owned()))
        });
    }
    // The home goes last: while there is a part, the group is found.
    for group in groups.into_iter().rev() {
        steps.add(
            "a group without processes is removed like a directory, the deepest below it first",
            format!("rmdir({group:?})"),
            format!("find {} -depth -type d -exec rmdir {{}} ';'", quote(&group)),
            move |_| directory::remove(&group, PATIENCE),
        );
    }
}
