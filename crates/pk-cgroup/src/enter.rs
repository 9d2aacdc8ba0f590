//! The steps that make a group, set its limits and bring PROG into it.

use crate::State;
use crate::group;
use crate::hierarchy::Hierarchy;
use crate::limits::Limits;
use crate::manage::killing;
use crate::name::{ANONYMOUS, Name};
use crate::placement::{Part, Place};
use pk::{Prog, Result, Steps, quote};
use std::path::PathBuf;

/// Makes the group, or joins it, and becomes PROG in it.
pub fn enter(place: &Place, limits: &Limits, prog: Prog) -> Result<Steps<State>> {
    let hierarchies = Hierarchy::find()?;
    let parts = place.parts(&hierarchies, limits)?;
    let mut steps = Steps::new(State::default());
    let is_anonymous = matches!(place.name, Name::Anonymous(_));
    if is_anonymous {
        sweep(&mut steps, place.siblings(&hierarchies, &parts)?);
    }
    let mut locks = LOCKS;
    for part in &parts {
        let lock = is_anonymous.then(|| locks.next().expect("hierarchies are few"));
        make(&mut steps, part, lock);
    }
    // Before any process is in the group, so that none has used more than it may.
    for part in &parts {
        set(&mut steps, part);
    }
    if is_anonymous {
        stay(&mut steps, &parts);
    }
    for part in parts {
        let file = part.directory.join("cgroup.procs");
        steps.add(
            "what PROG and its children use counts for the group from here on",
            format!("write({file:?}, \"0\")"),
            format!("echo $$ > {}", quote(&file)),
            move |state| state.group.enter(&part.directory, &part.delegation),
        );
    }
    steps.exec(prog);
    Ok(steps)
}

fn sweep(steps: &mut Steps<State>, parents: Vec<PathBuf>) {
    let patterns: Vec<String> =
        parents.iter().map(|parent| format!("{}/{ANONYMOUS}*", quote(parent))).collect();
    let patterns = patterns.join(" ");
    steps.add(
        "groups whose maker was killed are removed: nobody holds their lock any more",
        format!("flock({ANONYMOUS}*, LOCK_EX|LOCK_NB)"),
        format!(
            "for g in {patterns}; do [ ! -d $g ] || flock -n $g sh -c \"{}\"; done",
            "[ ! -e $g/cgroup.kill ] || echo 1 > $g/cgroup.kill; rmdir $g"
        ),
        move |_| {
            group::sweep(&parents);
            Ok::<(), pk::Error>(())
        },
    );
}

/// Descriptors by which a shell holds the locks of its groups: it names none above 9.
const LOCKS: std::ops::RangeInclusive<u32> = 4..=9;

fn make(steps: &mut Steps<State>, part: &Part, lock: Option<u32>) {
    for (file, value) in part.hand_on.clone() {
        let delegation = part.delegation.clone();
        steps.add(
            "v2: a group has only the controllers that the one above hands on",
            format!("write({file:?}, {value:?})"),
            format!("echo {value} > {}", quote(&file)),
            move |_| group::hand_on(&file, &value, &delegation),
        );
    }
    let (directory, delegation) = (part.directory.clone(), part.delegation.clone());
    let call = format!("mkdir({directory:?}, 0755)");
    let shown = quote(&directory);
    if let Some(lock) = lock {
        steps.add(
            "a group of PROG's own, locked for as long as this process lives",
            call,
            format!("mkdir {shown} && exec {lock}< {shown} && flock {lock}"),
            move |state| state.group.make_locked(&directory, &delegation),
        );
    } else {
        steps.add(
            "the named group; it may be there already",
            call,
            format!("mkdir -p {shown}"),
            move |state| state.group.make_or_join(&directory, &delegation),
        );
    }
}

fn set(steps: &mut Steps<State>, part: &Part) {
    for setting in part.settings.clone() {
        let directory = part.directory.clone();
        let file = directory.join(setting.file);
        steps.add(
            setting.why,
            format!("write({file:?}, {:?})", setting.value),
            if setting.optional {
                format!("[ ! -e {0} ] || echo {1} > {0}", quote(&file), setting.value)
            } else {
                format!("echo {} > {}", setting.value, quote(&file))
            },
            move |state| state.group.set(&directory, &setting),
        );
    }
}

/// A group cannot be removed by a process that is in it, so someone stays outside.
fn stay(steps: &mut Steps<State>, parts: &[Part]) {
    let groups: Vec<String> = parts.iter().map(|part| quote(&part.directory)).collect();
    let locks: Vec<String> = LOCKS.zip(parts).map(|(lock, _)| format!("{lock}<&-")).collect();
    let (kill, all, locks) = (killing(&parts[0].directory), groups.join(" "), locks.join(" "));
    steps.fork(
        "the parent stays outside; when PROG has ended it kills what is left and removes the group",
        format!("sh {locks}; status=$?; {kill}; rmdir {all}; exit $status"),
        false,
        |state| state.group.end(),
    );
}
