//! How mounts travel between a bound tree and where it was taken from. `mount_namespaces(7)`,
//! SHARED SUBTREES.

use crate::mountinfo::optional_fields;
use crate::source;
use crate::sys::set_propagation;
use pk::{Attempt, Error, Result};
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::str::FromStr;

/// The names of `mount(8)`, the flags of `mount_setattr(2)`, and whether they reach what is mounted
/// below too.
const KINDS: [(&str, u64, &str, bool); 6] = [
    ("rprivate", libc::MS_PRIVATE, "MS_PRIVATE", true),
    ("private", libc::MS_PRIVATE, "MS_PRIVATE", false),
    ("rslave", libc::MS_SLAVE, "MS_SLAVE", true),
    ("slave", libc::MS_SLAVE, "MS_SLAVE", false),
    ("rshared", libc::MS_SHARED, "MS_SHARED", true),
    ("shared", libc::MS_SHARED, "MS_SHARED", false),
];

/// One of them, the first unless another one is named: as Docker has it, nothing travels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Travel(usize);

impl FromStr for Travel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        KINDS.iter().position(|kind| kind.0 == text).map(Self).ok_or(())
    }
}

impl Travel {
    /// As an option of `mount(8)`.
    pub fn word(self) -> &'static str {
        KINDS[self.0].0
    }

    /// What comes from a mount that sends nothing would be waited for in vain.
    pub fn check(self, source: &Path) -> Result<()> {
        let (word, flag, ..) = KINDS[self.0];
        let needed: &[&str] = match flag {
            libc::MS_SLAVE => &["shared:", "master:"],
            libc::MS_SHARED => &["shared:"],
            _ => return Ok(()),
        };
        let call = format!("open_tree({source:?})");
        let file = source::open(source)?;
        let status = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).attempt(&call)?;
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").attempt("open(\"/proc/self/mountinfo\")")?;
        let (point, fields) = optional_fields(&mounts, status.stx_mnt_id).unwrap_or_default();
        if fields.iter().any(|field| needed.iter().any(|prefix| field.starts_with(prefix))) {
            return Ok(());
        }
        let kind = word.trim_start_matches('r');
        Err(Error::new(
            call,
            format!("{word}: nothing travels from the mount on {point}, which is private"),
        )
        .hint(format!(
            "pk-ns --propagation {kind} leaves it {kind}, if it is shared where that is run"
        )))
    }

    pub fn set(self, tree: &OwnedFd) -> Result<()> {
        let (_, flag, name, recursive) = KINDS[self.0];
        set_propagation(tree, flag, recursive).attempt(format_args!("mount_setattr({name})"))
    }
}

/// As strace writes it.
impl fmt::Display for Travel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (_, _, name, recursive) = KINDS[self.0];
        write!(f, "propagation={name}{}", if recursive { "|AT_RECURSIVE" } else { "" })
    }
}
