//! Where a group is made: in which hierarchies, and below which group of each.
//!
//! - `--parent GROUP` says it.
//! - An anonymous group is made inside the group that this process is in: limits nest, so it can
//!   only be tightened. On v2 a group that holds processes cannot hand controllers on to groups
//!   below it (no internal processes, `cgroups(7)`); there the nearest ancestor is taken that can.
//! - A named group is made in the topmost group in which this process may make one, for root that
//!   is the hierarchy's root, so that two terminals find the same group by its name.
//!
//! Only reads: `--explain` shows what is decided here.

use crate::delegation::Delegation;
use crate::directory::{self, is_writable, lineage};
use crate::hierarchy::{Controller, Hierarchy, Version, words};
use crate::limits::{Limits, Setting};
use crate::name::{GroupPath, Name};
use pk::{Attempt, Error, Result};
use std::path::{Path, PathBuf};

/// The group as asked for.
pub struct Place {
    pub name: Name,
    pub parent: Option<GroupPath>,
}

/// The group's directory in one hierarchy.
#[derive(Debug)]
pub struct Part {
    pub directory: PathBuf,
    /// What the kernel's refusals are explained by.
    pub delegation: Delegation,
    /// What is written to which `cgroup.subtree_control`, so that the group gets its controllers.
    pub hand_on: Vec<(PathBuf, String)>,
    pub settings: Vec<Setting>,
}

impl Place {
    /// The parts that the limits need, that of the [`home`] first.
    pub fn parts(&self, hierarchies: &[Hierarchy], limits: &Limits) -> Result<Vec<Part>> {
        let needs = limits.needs();
        for &(controller, option) in &needs {
            if !hierarchies.iter().any(|hierarchy| hierarchy.has(controller)) {
                return Err(missing(controller, option, hierarchies));
            }
        }
        let home = home(hierarchies)?;
        let mut parts = Vec::new();
        for hierarchy in hierarchies.iter().filter(|hierarchy| is_used(hierarchy, home)) {
            let wanted: Vec<Controller> = needs
                .iter()
                .map(|&(controller, _)| controller)
                .filter(|&controller| hierarchy.has(controller))
                .collect();
            let is_home = std::ptr::eq(hierarchy, home);
            // What a named group was limited in before, it stays limited in.
            if wanted.is_empty() && !is_home && !self.exists(hierarchy) {
                continue;
            }
            let part = self.part(hierarchy, &wanted, limits)?;
            parts.insert(if is_home { 0 } else { parts.len() }, part);
        }
        Ok(parts)
    }

    /// The directories of a named group that is there, that of the [`home`] first.
    pub fn existing(&self, hierarchies: &[Hierarchy]) -> Result<Vec<PathBuf>> {
        let home = home(hierarchies)?;
        let mut looked = Vec::new();
        for hierarchy in hierarchies.iter().filter(|hierarchy| is_used(hierarchy, home)) {
            if let Ok(parent) = self.parent(hierarchy, &[]) {
                let at = if std::ptr::eq(hierarchy, home) { 0 } else { looked.len() };
                looked.insert(at, parent.join(self.name.as_str()));
            }
        }
        let found: Vec<PathBuf> = looked.iter().filter(|path| path.is_dir()).cloned().collect();
        if found.is_empty() {
            let looked: Vec<String> = looked.iter().map(|path| format!("{path:?}")).collect();
            let error =
                Error::new(format_args!("--name {:?}", self.name.as_str()), "no such group");
            return Err(error.hint(format!("looked for {}", looked.join(", "))));
        }
        Ok(found)
    }

    /// The groups below which an earlier anonymous group may have been left: everywhere where one
    /// like this would be made.
    pub fn siblings(&self, hierarchies: &[Hierarchy], parts: &[Part]) -> Result<Vec<PathBuf>> {
        let home = home(hierarchies)?;
        let parents = parts.iter().filter_map(|part| part.directory.parent().map(Path::to_owned));
        let mut parents: Vec<PathBuf> = parents.collect();
        for hierarchy in hierarchies.iter().filter(|hierarchy| is_used(hierarchy, home)) {
            parents.extend(self.parent(hierarchy, &[]));
        }
        parents.sort();
        parents.dedup();
        Ok(parents)
    }

    fn exists(&self, hierarchy: &Hierarchy) -> bool {
        let parent = self.parent(hierarchy, &[]);
        parent.is_ok_and(|parent| parent.join(self.name.as_str()).is_dir())
    }

    fn part(&self, hierarchy: &Hierarchy, wanted: &[Controller], limits: &Limits) -> Result<Part> {
        let parent = self.parent(hierarchy, wanted)?;
        let directory = parent.join(self.name.as_str());
        let hand_on = match hierarchy.version {
            Version::V1 => Vec::new(),
            Version::V2 => hand_on(&parent, wanted)?,
        };
        let mut settings = Vec::new();
        if hierarchy.version == Version::V1 && hierarchy.has(Controller::Cpuset) {
            settings = inherited_cpuset(&parent, &directory, limits.cpuset.is_some())?;
        }
        for &controller in wanted {
            let is_new = !directory.is_dir();
            settings.extend(limits.settings(controller, hierarchy.version, is_new)?);
        }
        let controllers = if hierarchy.version == Version::V2 { wanted } else { &[] };
        let delegation = Delegation::new(hierarchy.own.clone(), controllers.to_vec());
        Ok(Part { directory, delegation, hand_on, settings })
    }

    /// The group below which this one is made.
    fn parent(&self, hierarchy: &Hierarchy, wanted: &[Controller]) -> Result<PathBuf> {
        if let Some(GroupPath(path)) = &self.parent {
            let parent: PathBuf = hierarchy.point.join(path).components().collect();
            std::fs::metadata(&parent).attempt(format_args!("--parent: stat({parent:?})"))?;
            return Ok(parent);
        }
        if let Name::Given(_) = self.name {
            // From the top down: the first one that may be written to.
            let own = hierarchy.own.as_ref().unwrap_or(&hierarchy.point);
            let topmost = lineage(own).filter(|group| is_writable(group)).last();
            return Ok(topmost.unwrap_or_else(|| hierarchy.point.clone()));
        }
        let Some(own) = &hierarchy.own else {
            let point = &hierarchy.point;
            let reason = format!("the group of this process is not below {point:?}");
            return Err(Error::new("/proc/self/cgroup", reason)
                .hint("--parent GROUP names a group that is".to_owned()));
        };
        if hierarchy.version == Version::V1 {
            return Ok(own.clone());
        }
        // The nearest that can hold it and may be written to; else the nearest that can, whose
        // error says what is not permitted; else our own, whose error says why.
        let able: Vec<PathBuf> = lineage(own).filter(|group| can_hold(group, wanted)).collect();
        let permitted = able.iter().find(|group| is_writable(group)).or(able.first());
        Ok(permitted.unwrap_or(own).clone())
    }
}

/// The hierarchy in which every group is made, whatever its limits: the one that serves best to
/// freeze a group and to kill what is in it. v2 does both at one stroke and without a controller.
fn home(hierarchies: &[Hierarchy]) -> Result<&Hierarchy> {
    let named = |name| {
        move |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|other| other == name)
    };
    let v2 = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
    v2.or_else(|| hierarchies.iter().find(named("freezer")))
        .or_else(|| hierarchies.iter().find(named("pids")))
        .or(hierarchies.first())
        .ok_or_else(|| Error::new("/proc/self/mountinfo", "no cgroup file system is mounted"))
}

/// Whether a group can have a part in this hierarchy: others, such as v1's `devices`, limit nothing.
fn is_used(hierarchy: &Hierarchy, home: &Hierarchy) -> bool {
    std::ptr::eq(hierarchy, home) || Controller::ALL.iter().any(|&one| hierarchy.has(one))
}

/// Whether a group with these controllers can be made below this one of v2: it has them itself,
/// and if it has to hand them on it holds no processes or is the root, which is exempt. The root
/// alone has no `cgroup.type`; any other must be a plain domain, not part of a threaded subtree.
pub fn can_hold(group: &Path, wanted: &[Controller]) -> bool {
    let has = words(&group.join("cgroup.controllers")).unwrap_or_default();
    let has = |one: &Controller| has.iter().any(|name| name == one.name(Version::V2));
    let is_empty = || directory::processes(group).is_ok_and(|processes| processes.is_empty());
    wanted.iter().all(has)
        && std::fs::read_to_string(group.join("cgroup.type"))
            .map_or(true, |kind| kind.trim() == "domain" && (wanted.is_empty() || is_empty()))
}

/// What has to be written from the mount point down so that a group below `parent` has the
/// controllers. They stay handed on: to take them back would lift the limits of other groups.
fn hand_on(parent: &Path, wanted: &[Controller]) -> Result<Vec<(PathBuf, String)>> {
    let groups: Vec<PathBuf> = lineage(parent).collect();
    let mut writes = Vec::new();
    for group in groups.iter().rev().filter(|_| !wanted.is_empty()) {
        let file = group.join("cgroup.subtree_control");
        let on = words(&file)?;
        let names = wanted.iter().map(|controller| controller.name(Version::V2));
        let lacking = names.filter(|name| !on.iter().any(|other| other == name));
        let text: Vec<String> = lacking.map(|name| format!("+{name}")).collect();
        if !text.is_empty() {
            writes.push((file, text.join(" ")));
        }
    }
    Ok(writes)
}

/// A new group of v1's cpuset has no processors and no memory nodes, and until it has both no
/// process can enter it (`cpuset(7)`, ENOSPC): they are copied from the group above.
fn inherited_cpuset(parent: &Path, group: &Path, has_cpus: bool) -> Result<Vec<Setting>> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let mut settings = Vec::new();
    for file in ["cpuset.mems", "cpuset.cpus"] {
        let is_filled = !read(&group.join(file)).is_empty();
        if is_filled || has_cpus && file == "cpuset.cpus" {
            continue;
        }
        let above = parent.join(file);
        let value = read(&above);
        if value.is_empty() {
            let call = format!("read({above:?})");
            return Err(Error::new(call, "is empty, so no process can enter a group below it"));
        }
        let why = "v1: no process can enter before the group has processors and memory nodes";
        settings.push(Setting { file, value, why, optional: false });
    }
    Ok(settings)
}

fn missing(controller: Controller, option: &str, hierarchies: &[Hierarchy]) -> Error {
    let list = |names: &[String]| {
        if names.is_empty() { "none".to_owned() } else { names.join(" ") }
    };
    let mut looked = Vec::new();
    for hierarchy in hierarchies {
        let controllers = list(&hierarchy.controllers);
        looked.push(match hierarchy.version {
            Version::V2 => format!("{:?} (v2: {controllers})", hierarchy.point),
            Version::V1 => format!("{:?} (v1: {controllers})", hierarchy.point),
        });
    }
    let looked = if looked.is_empty() {
        "/proc/self/mountinfo has no cgroup file system".to_owned()
    } else {
        format!("looked in {}", looked.join(", "))
    };
    let (old, new) = (controller.name(Version::V1), controller.name(Version::V2));
    let names = if old == new { new.to_owned() } else { format!("{new} (v1: {old})") };
    Error::new(option, format_args!("no {names} controller")).hint(looked)
}

#[cfg(test)]
mod tests;
