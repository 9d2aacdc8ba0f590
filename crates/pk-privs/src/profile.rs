//! A seccomp profile: the JSON that Docker and Podman take, settled for this process. Its format is
//! `LinuxSeccomp` of the OCI runtime specification, and conditions that are Docker's own.

use crate::abi::{Abi, GO_NAME, OF_THIS_MACHINE};
use crate::capability;
use crate::condition::{self, Condition};
use nix::errno::Errno;
use rustix::thread::CapabilitySet;
use serde::Deserialize;
use std::fmt::Display;

/// What is done about a call. `seccomp(2)`, "return value of a filter".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    KillProcess,
    KillThread,
    Trap,
    Errno(u16),
    Trace(u16),
    Log,
    Allow,
}

/// Settled: what does not apply here is gone.
#[derive(Debug)]
pub struct Profile {
    pub default: Action,
    /// Whether calls that are newer than all that the profile names are refused as a kernel would
    /// that does not have them: a C library that is told ENOSYS takes an older call instead.
    pub newer_are_missing: bool,
    /// The ABIs that the profile names. Calls by others than these and the native one are killed.
    pub abis: Vec<&'static Abi>,
    pub rules: Vec<Rule>,
    /// `SECCOMP_FILTER_FLAG_…`
    pub flags: u32,
}

/// Calls that have an action of their own if all conditions hold.
#[derive(Debug)]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub conditions: Vec<Condition>,
}

/// What the conditions of a profile are about.
#[derive(Debug)]
pub struct Circumstances {
    /// The bounding set that PROG will have.
    pub capabilities: CapabilitySet,
    /// The kernel's version, its first two numbers.
    pub kernel: (u32, u32),
}

impl Action {
    /// As a filter returns it.
    pub fn code(self) -> u32 {
        match self {
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }

    /// Without a value an error is EPERM, as runc has it.
    fn read(name: &str, number: Option<u16>, errno: Option<&str>) -> Result<Self, String> {
        let value = match (number, errno.filter(|errno| !errno.is_empty())) {
            (_, Some(name)) => errno_of(name)?,
            (Some(number), None) => number,
            (None, None) => Errno::EPERM as u16,
        };
        Ok(match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Self::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Self::KillProcess,
            "SCMP_ACT_TRAP" => Self::Trap,
            "SCMP_ACT_ERRNO" => Self::Errno(value),
            "SCMP_ACT_TRACE" => Self::Trace(value),
            "SCMP_ACT_LOG" => Self::Log,
            "SCMP_ACT_ALLOW" => Self::Allow,
            "SCMP_ACT_NOTIFY" => return Err("SCMP_ACT_NOTIFY needs a supervisor".to_owned()),
            _ => return Err(format!("{name:?} is no action")),
        })
    }
}

/// Podman's: an error by its name, or as a number.
fn errno_of(text: &str) -> Result<u16, String> {
    let name = match text {
        "EWOULDBLOCK" => "EAGAIN",
        "ENOTSUP" => "EOPNOTSUPP",
        _ => text,
    };
    let named = (1..=133).find(|&number| format!("{:?}", Errno::from_raw(number.into())) == name);
    named.or_else(|| text.parse().ok()).ok_or_else(|| format!("{text:?} is no errno"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u16>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u16>,
    errno: Option<String>,
    args: Option<Vec<condition::Entry>>,
    includes: Option<Circumstance>,
    excludes: Option<Circumstance>,
}

/// Where a rule applies, or does not.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Circumstance {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    pub fn parse(text: &str, here: &Circumstances) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (number, errno) = (document.default_errno_ret, document.default_errno.as_deref());
        let default = Action::read(&document.default_action, number, errno)?;
        let permissive = matches!(default, Action::Allow | Action::Log | Action::Trace(_));
        let mut rules = Vec::new();
        for entry in document.syscalls.unwrap_or_default() {
            if entry.applies(here)? {
                entry.add_rules(&mut rules)?;
            }
        }
        Ok(Self {
            default,
            newer_are_missing: !permissive,
            abis: abis(document.architectures, document.arch_map)?,
            rules,
            flags: flags(document.flags.unwrap_or_default())?,
        })
    }
}

impl Entry {
    fn applies(&self, here: &Circumstances) -> Result<bool, String> {
        let excluded = match &self.excludes {
            Some(excludes) => excludes.answers(here)?.contains(&true),
            None => false,
        };
        let included = match &self.includes {
            Some(includes) => !includes.answers(here)?.contains(&false),
            None => true,
        };
        Ok(included && !excluded)
    }

    fn add_rules(self, rules: &mut Vec<Rule>) -> Result<(), String> {
        let names = match (self.name.filter(|name| !name.is_empty()), self.names) {
            (Some(_), Some(names)) if !names.is_empty() => {
                return Err("a rule has both \"name\" and \"names\"".to_owned());
            }
            (Some(name), _) => vec![name],
            (None, names) => names.unwrap_or_default(),
        };
        let action = Action::read(&self.action, self.errno_ret, self.errno.as_deref())?;
        let conditions: Vec<Condition> = self
            .args
            .unwrap_or_default()
            .iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?;
        // As runc: conditions on different arguments have all to hold, but of several on the same
        // argument one is enough.
        let mut arguments: Vec<u32> = conditions.iter().map(|one| one.argument).collect();
        arguments.sort_unstable();
        if arguments.windows(2).any(|pair| pair[0] == pair[1]) {
            rules.extend(conditions.into_iter().map(|one| Rule {
                names: names.clone(),
                action,
                conditions: vec![one],
            }));
        } else {
            rules.push(Rule { names, action, conditions });
        }
        Ok(())
    }
}

impl Circumstance {
    /// Of each question that is asked, whether it is so here. A list of names asks one each.
    fn answers(&self, here: &Circumstances) -> Result<Vec<bool>, String> {
        let mut answers = Vec::new();
        if let Some(arches) = self.arches.as_ref().filter(|arches| !arches.is_empty()) {
            answers.push(arches.iter().any(|arch| arch == GO_NAME));
        }
        for name in self.caps.iter().flatten() {
            // One that this kernel does not have, nobody has.
            let known = capability::named(name).unwrap_or(CapabilitySet::empty());
            answers.push(!known.is_empty() && here.capabilities.contains(known));
        }
        if let Some(version) = self.min_kernel.as_ref().filter(|version| !version.is_empty()) {
            let wanted = version_of(version);
            answers.push(here.kernel >= wanted.ok_or(format!("{version:?} is no kernel version"))?);
        }
        Ok(answers)
    }
}

impl Circumstances {
    pub fn of(capabilities: CapabilitySet) -> Self {
        let release = nix::sys::utsname::uname().ok();
        let kernel = release.as_ref().and_then(|name| version_of(name.release().to_str()?));
        Self { capabilities, kernel: kernel.unwrap_or_default() }
    }
}

/// The first two numbers: `6.1.0-13-amd64` is 6 and 1.
fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Those that this machine has of the ones that are named.
fn abis(
    architectures: Option<Vec<String>>,
    map: Option<Vec<ArchMap>>,
) -> Result<Vec<&'static Abi>, String> {
    let native = OF_THIS_MACHINE[0];
    let (architectures, map) = (architectures.unwrap_or_default(), map.unwrap_or_default());
    if !architectures.is_empty() && !map.is_empty() {
        return Err("there are both \"architectures\" and \"archMap\"".to_owned());
    }
    let mapped = map.into_iter().find(|entry| entry.architecture == native.name);
    let mapped = mapped.map(|entry| {
        let others = entry.sub_architectures.unwrap_or_default();
        [entry.architecture].into_iter().chain(others).collect()
    });
    let names: Vec<String> = mapped.unwrap_or(architectures);
    if let Some(wrong) = names.iter().find(|name| !name.starts_with("SCMP_ARCH_")) {
        return Err(format!("{wrong:?} is no architecture"));
    }
    Ok(OF_THIS_MACHINE
        .into_iter()
        .filter(|abi| names.iter().any(|name| name == abi.name))
        .collect())
}

fn flags(names: Vec<String>) -> Result<u32, String> {
    names.into_iter().try_fold(0, |flags, name| {
        let flag = match name.as_str() {
            // This process has one thread.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            _ => return Err(format!("{name:?} is no flag")),
        };
        Ok(flags | u32::try_from(flag).expect("a flag is one of 32 bits"))
    })
}

impl Display for Action {
    /// As `seccomp_export_pfc(3)` of libseccomp writes it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::KillProcess => formatter.write_str("KILL_PROCESS"),
            Self::KillThread => formatter.write_str("KILL"),
            Self::Trap => formatter.write_str("TRAP"),
            Self::Errno(errno) => write!(formatter, "ERRNO({errno})"),
            Self::Trace(message) => write!(formatter, "TRACE({message})"),
            Self::Log => formatter.write_str("LOG"),
            Self::Allow => formatter.write_str("ALLOW"),
        }
    }
}

#[cfg(test)]
#[path = "profile/tests.rs"]
mod tests;
