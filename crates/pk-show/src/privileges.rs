//! What a process has given up beside capabilities: `no_new_privs`, system calls, and what a
//! security module confines it to.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::process::Process;
use crate::text::printable;
use rustix::thread::{self, CapabilitiesSecureBits, SecureComputingMode};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Privileges {
    /// `PR_SET_NO_NEW_PRIVS(2const)`.
    pub no_new_privs: Answer<bool>,
    pub seccomp: Seccomp,
    /// What root's capabilities do not do for it, in the words of `pk-privs --securebits`. Only the
    /// process itself is told, `PR_GET_SECUREBITS(2const)`.
    pub securebits: Answer<Vec<String>>,
    /// The label that a security module (LSM) has put on it; null where there is no such module.
    pub lsm: Answer<Option<String>>,
}

/// `seccomp(2)`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Seccomp {
    pub mode: Answer<Mode>,
    /// How many filters each system call goes through. Only `/proc` tells, since Linux 5.9.
    pub filters: Answer<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    None,
    Strict,
    Filter,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Strict => "strict",
            Self::Filter => "filter",
        }
    }
}

pub fn read(process: &Process) -> Privileges {
    let filters = process.status("Seccomp_filters");
    let filters = filters.and_then(|text| text.parse().map_err(|_| Unknown::not_told()));
    Privileges {
        no_new_privs: no_new_privs(process).into(),
        seccomp: Seccomp { mode: mode(process).into(), filters: filters.into() },
        securebits: securebits(process).into(),
        lsm: label(process).into(),
    }
}

fn no_new_privs(process: &Process) -> Result<bool, Unknown> {
    if process.is_own {
        return Ok(thread::no_new_privs()?);
    }
    process.status("NoNewPrivs").map(|text| text == "1")
}

fn mode(process: &Process) -> Result<Mode, Unknown> {
    if process.is_own {
        return match thread::secure_computing_mode()? {
            SecureComputingMode::Disabled => Ok(Mode::None),
            SecureComputingMode::Strict => Ok(Mode::Strict),
            SecureComputingMode::Filter => Ok(Mode::Filter),
        };
    }
    match process.status("Seccomp")? {
        "0" => Ok(Mode::None),
        "1" => Ok(Mode::Strict),
        "2" => Ok(Mode::Filter),
        _ => Err(Unknown::not_told()),
    }
}

fn securebits(process: &Process) -> Result<Vec<String>, Unknown> {
    if !process.is_own {
        return Err(Unknown::new("only the process itself is told"));
    }
    let bits = thread::capabilities_secure_bits()?;
    let set = SECUREBITS.into_iter().filter(|&(bit, _)| bits.contains(bit));
    Ok(set.map(|(_, name)| name.to_owned()).collect())
}

/// `keep_caps` is not among them: an exec clears it.
const SECUREBITS: [(CapabilitiesSecureBits, &str); 7] = [
    (CapabilitiesSecureBits::NO_ROOT, "noroot"),
    (CapabilitiesSecureBits::NO_ROOT_LOCKED, "noroot_locked"),
    (CapabilitiesSecureBits::NO_SETUID_FIXUP, "no_setuid_fixup"),
    (CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED, "no_setuid_fixup_locked"),
    (CapabilitiesSecureBits::KEEP_CAPS_LOCKED, "keep_caps_locked"),
    (CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE, "no_cap_ambient_raise"),
    (CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED, "no_cap_ambient_raise_locked"),
];

/// Reading the label is EINVAL where no module has one to give.
fn label(process: &Process) -> Result<Option<String>, Unknown> {
    match process.read("attr/current") {
        Ok(label) => {
            let label = label.strip_suffix(b"\0").unwrap_or(&label).trim_ascii_end();
            Ok(Some(printable(label)).filter(|label| !label.is_empty()))
        }
        Err(unknown) if unknown == Unknown::from(rustix::io::Errno::INVAL) => Ok(None),
        Err(unknown) => Err(unknown),
    }
}

impl Privileges {
    pub fn facts(&self) -> Vec<Fact> {
        let filters = self.seccomp.filters.known().filter(|&&count| count > 0);
        let seccomp = Fact::of(Topic::Privileges, "seccomp", self.seccomp.mode.as_ref(), |mode| {
            match (mode, filters) {
                (Mode::Filter, Some(1)) => "1 filter".to_owned(),
                (Mode::Filter, Some(count)) => format!("{count} filters"),
                _ => mode.name().to_owned(),
            }
        });
        vec![
            Fact::of(Topic::Privileges, "no_new_privs", self.no_new_privs.as_ref(), |&on| {
                if on { "yes" } else { "no" }
            }),
            seccomp,
            Fact::of(Topic::Privileges, "securebits", self.securebits.as_ref(), |bits| {
                if bits.is_empty() { "none".to_owned() } else { bits.join(" ") }
            }),
            Fact::of(Topic::Privileges, "lsm", self.lsm.as_ref(), |label| {
                label.as_deref().unwrap_or("none")
            }),
        ]
    }
}
