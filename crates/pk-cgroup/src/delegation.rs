//! Which rule of delegation kept this process from a group, and which command would grant it.
//!
//! The rules are those of `cgroups(7)`, "Cgroups delegation", and of `cgroup-v2.rst`, "Delegation":
//! the directory of the group and its `cgroup.procs`, `cgroup.threads` and `cgroup.subtree_control`
//! belong to the user, the group above hands the controllers on, the group itself holds no process,
//! and the process that moves is below the delegated group already.
//!
//! Asked only after the kernel has refused; what is said was seen in the file system.

use crate::directory::{is_writable, lineage, processes};
use crate::hierarchy::{Controller, Version, words};
use crate::placement::can_hold;
use pk::{Error, quote};
use rustix::fs::stat;
use rustix::io::Errno;
use rustix::process::{Pid, getpid, getppid, getuid};
use std::path::{Path, PathBuf};

/// What this process is and wants, in one hierarchy.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The group it is in, if that can be seen.
    pub own: Option<PathBuf>,
    /// v2's controllers that its new group is to have.
    wanted: Vec<Controller>,
    /// Who started it: the shell that a grant would be for. A fork must not change that.
    caller: Option<Pid>,
}

impl Delegation {
    pub fn new(own: Option<PathBuf>, wanted: Vec<Controller>) -> Self {
        Self { own, wanted, caller: getppid() }
    }

    /// Why `mkdir(directory)` was refused.
    pub fn why_not_made(&self, directory: &Path, error: &Error) -> Option<String> {
        let parent = directory.parent()?;
        if is(error, Errno::AGAIN) {
            return full(parent);
        }
        if is_refusal(error) && !is_writable(parent) {
            return self.why_not_delegated(parent);
        }
        None
    }

    /// A group is not this user's. Where one between it and the process is, that one is told of.
    fn why_not_delegated(&self, group: &Path) -> Option<String> {
        let own = self.own.as_ref().filter(|own| own.starts_with(group));
        own.and_then(|own| self.why_not_below(own)).or_else(|| {
            let grant = self.grant(group);
            Some(format!("{}: it is not delegated; {grant}", owner(group)?))
        })
    }

    /// Why none of this user's groups above the process holds the new one.
    fn why_not_below(&self, own: &Path) -> Option<String> {
        let mine: Vec<PathBuf> = lineage(own).filter(|group| is_writable(group)).collect();
        if let Some(able) = mine.iter().find(|group| can_hold(group, &self.wanted)) {
            return Some(format!("{able:?} is delegated, and taken without --parent"));
        }
        let top = mine.last()?;
        let lacking = self.lacking(&top.join("cgroup.controllers"));
        if !lacking.is_empty() {
            let file = top.parent()?.join("cgroup.subtree_control");
            // A mount point has none above it that could be seen.
            stat(&file).ok()?;
            let text = plus(&lacking);
            return Some(format!(
                "{top:?} is delegated without {}: the group above does not hand it on (cgroups(7), \
                 \"top-down constraint\"); as root: echo {text} > {}{}",
                lacking.join(" "),
                quote(&file),
                drop_in(top)
            ));
        }
        let able = |group: &&PathBuf| self.lacking(&group.join("cgroup.controllers")).is_empty();
        mine.iter().find(able).and_then(|group| why_full_of_processes(group))
    }

    /// Why controllers could not be written to a `cgroup.subtree_control`.
    pub fn why_not_handed_on(&self, file: &Path, value: &str, error: &Error) -> Option<String> {
        let group = file.parent()?;
        if is_refusal(error) && !is_writable(group) {
            return self.why_not_delegated(group);
        }
        if is_refusal(error) && !is_writable(file) {
            let user = getuid().as_raw();
            return Some(format!("{}; as root: chown {user} {}", owner(file)?, quote(file)));
        }
        let has = words(&group.join("cgroup.controllers")).ok()?;
        let lacks = |name: &&str| !has.iter().any(|other| other == name);
        let lacking: Vec<&str> =
            value.split(' ').map(|word| word.trim_start_matches('+')).filter(lacks).collect();
        let above = group.parent().filter(|_| is(error, Errno::NOENT) && !lacking.is_empty())?;
        Some(format!(
            "{:?} has {}; {:?} does not hand {} on",
            group.join("cgroup.controllers"),
            if has.is_empty() { "none".to_owned() } else { has.join(" ") },
            above.join("cgroup.subtree_control"),
            lacking.join(" ")
        ))
    }

    /// Why the process could not move itself into the group.
    pub fn why_not_entered(&self, group: &Path, error: &Error) -> Option<String> {
        let read = |name| std::fs::read_to_string(group.join(name)).unwrap_or_default();
        let (kind, handed_on) = (read("cgroup.type"), read("cgroup.subtree_control"));
        if is(error, Errno::OPNOTSUPP) && !kind.is_empty() && kind.trim() != "domain" {
            return Some(format!("its cgroup.type is {:?}", kind.trim()));
        }
        if is(error, Errno::BUSY) && !handed_on.trim().is_empty() {
            return Some(format!(
                "it hands on {}, and such a group holds no process itself (cgroups(7), \"no \
                 internal processes\")",
                handed_on.trim()
            ));
        }
        let file = group.join("cgroup.procs");
        if is_refusal(error) && !is_writable(&file) {
            let user = getuid().as_raw();
            return Some(format!("{}; as root: chown {user} {}", owner(&file)?, quote(&file)));
        }
        let own = self.own.as_ref().filter(|_| is_refusal(error))?;
        let common = lineage(group).find(|above| own.starts_with(above))?.join("cgroup.procs");
        if is_writable(&common) {
            return None;
        }
        let top = lineage(group).filter(|above| is_writable(above)).last()?;
        Some(format!(
            "this process comes from {own:?}, and moving it also takes {common:?}, which {} \
             (cgroups(7), \"delegation containment rules\"); {}",
            belongs(&common)?,
            self.way_in(&top.join("shell"))
        ))
    }

    /// Those of the wanted controllers that a file does not name.
    fn lacking(&self, file: &Path) -> Vec<&'static str> {
        let there = words(file).unwrap_or_default();
        let names = self.wanted.iter().map(|controller| controller.name(Version::V2));
        names.filter(|name| !there.iter().any(|other| other == name)).collect()
    }

    /// The command after which a group can be made below this one, or beside it.
    fn grant(&self, parent: &Path) -> String {
        if has_user_manager() {
            return BY_SYSTEMD.to_owned();
        }
        let user = getuid().as_raw();
        let name = format!("user-{user}");
        let mut commands = vec![format!("cd {}", quote(parent))];
        let control = parent.join("cgroup.subtree_control");
        let lacking = self.lacking(&control);
        if control.exists() && !lacking.is_empty() {
            commands.push(format!("echo {} > cgroup.subtree_control", plus(&lacking)));
        }
        // v2's shell goes one level deeper, so that the delegated group holds no process itself.
        let (shell, files) = if control.exists() {
            let files = ["procs", "threads", "subtree_control"];
            (format!("{name}/shell"), files.map(|file| format!(" {name}/cgroup.{file}")).concat())
        } else {
            (name.clone(), format!(" {name}/cgroup.procs"))
        };
        commands.push(format!("mkdir -p {shell}"));
        commands.push(format!("chown {user} {name}{files}"));
        commands.push(format!("echo {} > {shell}/cgroup.procs", self.caller()));
        format!("as root: {}", commands.join(" && "))
    }

    /// The command that brings the caller into a delegated subtree.
    fn way_in(&self, shell: &Path) -> String {
        if has_user_manager() {
            return BY_SYSTEMD.to_owned();
        }
        let shown = quote(shell);
        format!("as root: mkdir -p {shown} && echo {} > {shown}/cgroup.procs", self.caller())
    }

    fn caller(&self) -> String {
        self.caller.map_or("PID".to_owned(), |pid| pid.to_string())
    }
}

const BY_SYSTEMD: &str =
    "systemd-run --user --scope -p Delegate=yes pk-cgroup ... starts it in one";

/// Whether a systemd runs for this user: `sd_booted(3)`, and the socket that `systemd-run --user`
/// talks to.
fn has_user_manager() -> bool {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.unwrap_or_else(|| format!("/run/user/{}", getuid().as_raw()).into());
    Path::new("/run/systemd/system").is_dir() && runtime.join("systemd/private").exists()
}

/// Where systemd keeps what it hands on to a user's manager; `systemd.resource-control(5)`.
fn drop_in(group: &Path) -> String {
    let is_manager = group.file_name().is_some_and(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"user@") && name.ends_with(b".service")
    });
    let lasting =
        ", for good: systemctl edit user@.service, [Service] Delegate=cpu cpuset io memory pids";
    if is_manager { lasting.to_owned() } else { String::new() }
}

/// v2's rule that a group hands controllers on or holds processes, if this one holds some.
pub fn why_full_of_processes(group: &Path) -> Option<String> {
    let held = processes(group).ok().filter(|held| !held.is_empty())?;
    let own = getpid().as_raw_nonzero().get();
    let others: Vec<String> =
        held.iter().filter(|&&pid| pid != own && pid > 0).map(ToString::to_string).collect();
    let shell = quote(group.join("shell"));
    let away = if others.is_empty() {
        format!("sh -c 'mkdir -p {shell} && echo $$ > {shell}/cgroup.procs && exec pk-cgroup ...'")
    } else {
        let list = others.join(" ");
        format!("mkdir -p {shell} && for p in {list}; do echo $p > {shell}/cgroup.procs; done")
    };
    Some(format!(
        "{group:?} holds processes itself, and such a group cannot hand controllers on (cgroups(7), \
         \"no internal processes\"); --parent GROUP names another, or: {away}"
    ))
}

/// The limit on groups that is reached; `cgroup-v2.rst`, "Controlling Controllers".
fn full(parent: &Path) -> Option<String> {
    let number = |file: PathBuf| std::fs::read_to_string(file).ok()?.trim().parse::<usize>().ok();
    lineage(parent).enumerate().find_map(|(depth, group)| {
        let stat = std::fs::read_to_string(group.join("cgroup.stat")).unwrap_or_default();
        let there = stat.lines().find_map(|line| line.strip_prefix("nr_descendants "));
        let there: usize = there.and_then(|there| there.parse().ok()).unwrap_or_default();
        let reached = |name, there: usize| {
            let file = group.join(name);
            let max = number(file.clone())?;
            (there >= max).then(|| format!("{file:?} is {max}, and that many there are"))
        };
        reached("cgroup.max.descendants", there).or_else(|| reached("cgroup.max.depth", depth))
    })
}

fn plus(controllers: &[&str]) -> String {
    let each: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    quote(each.join(" "))
}

/// `"PATH" belongs to user 0, and this is user 1000`.
fn owner(path: &Path) -> Option<String> {
    Some(format!("{path:?} {}, and this is user {}", belongs(path)?, getuid().as_raw()))
}

fn belongs(path: &Path) -> Option<String> {
    Some(format!("belongs to user {}", stat(path).ok()?.st_uid))
}

/// Whether the kernel's answer was this one.
pub fn is(error: &Error, errno: Errno) -> bool {
    error.errno().is_some_and(|other| other as i32 == errno.raw_os_error())
}

fn is_refusal(error: &Error) -> bool {
    is(error, Errno::ACCESS) || is(error, Errno::PERM)
}

#[cfg(test)]
mod tests;
