//! The eight namespaces. `namespaces(7)`.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, MACHINE, Topic};
use crate::process::Process;
use crate::sys;
use rustix::fs::{AtFlags, fstat, statat};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kind of namespace, in the words of pk-ns's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Cgroup,
    Ipc,
    Mount,
    Net,
    Pid,
    Time,
    User,
    Uts,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Cgroup,
        Self::Ipc,
        Self::Mount,
        Self::Net,
        Self::Pid,
        Self::Time,
        Self::User,
        Self::Uts,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            _ => self.file(),
        }
    }

    /// Its name in `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Mount => "mnt",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }

    /// The inode of the one that the machine started with: `enum init_ns_ino` of Linux's
    /// `linux/nsfs.h`. Those of mount and net namespaces have fixed numbers since Linux 6.18.
    pub fn initial(self) -> u64 {
        match self {
            Self::Ipc => 0xEFFF_FFFF,
            Self::Uts => 0xEFFF_FFFE,
            Self::User => 0xEFFF_FFFD,
            Self::Pid => 0xEFFF_FFFC,
            Self::Cgroup => 0xEFFF_FFFB,
            Self::Time => 0xEFFF_FFFA,
            Self::Net => 0xEFFF_FFF9,
            Self::Mount => 0xEFFF_FFF8,
        }
    }
}

/// The requests that a pidfd answers with a namespace, since Linux 6.11: `ioctl_pidfd(2)`.
const REQUESTS: [(&str, libc::Ioctl); 10] = [
    ("cgroup", 1),
    ("ipc", 2),
    ("mnt", 3),
    ("net", 4),
    ("pid", 5),
    ("pid_for_children", 6),
    ("time", 7),
    ("time_for_children", 8),
    ("user", 9),
    ("uts", 10),
];

/// A namespace.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Namespace {
    pub inode: u64,
    /// Whether it is the one that the machine started with; null if that cannot be known.
    pub initial: Option<bool>,
    /// Whether the parent process is in it too; null if that cannot be read.
    pub of_parent: Option<bool>,
}

/// The namespaces of a process, and the two in which its next child will be.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Namespaces {
    #[serde(flatten)]
    pub own: BTreeMap<Kind, Answer<Namespace>>,
    pub pid_for_children: Answer<u64>,
    pub time_for_children: Answer<u64>,
}

pub fn read(process: &Process) -> Namespaces {
    let parent = process.status("PPid").ok().and_then(|number| number.parse().ok());
    let parent = parent.filter(|&pid: &u32| pid > 0).and_then(|pid| Process::open(pid).ok());
    // Where /proc shows the machine's processes, PID 1's namespaces are those it started with.
    let init = Process::open(1).ok();
    let init = init.filter(|init| inode(init, "pid") == Ok(Kind::Pid.initial()));
    let is_in = |other: &Option<Process>, kind: Kind, number| {
        Some(inode(other.as_ref()?, kind.file()).ok()? == number)
    };
    let one = |kind: Kind| -> Result<Namespace, Unknown> {
        let inode = inode(process, kind.file())?;
        let initial = match kind {
            // What is made later gets a higher number.
            _ if inode == kind.initial() => Some(true),
            Kind::Mount | Kind::Net if !has_fixed_numbers() => is_in(&init, kind, inode),
            _ => Some(false),
        };
        Ok(Namespace { inode, initial, of_parent: is_in(&parent, kind, inode) })
    };
    Namespaces {
        own: Kind::ALL.into_iter().map(|kind| (kind, one(kind).into())).collect(),
        pid_for_children: inode(process, "pid_for_children").into(),
        time_for_children: inode(process, "time_for_children").into(),
    }
}

/// Whether the first mount and net namespace have fixed numbers too: since Linux 6.18.
fn has_fixed_numbers() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(18))
}

/// A namespace by its file in `/proc/PID/ns`. Of this process a pidfd knows it, too.
fn inode(process: &Process, file: &str) -> Result<u64, Unknown> {
    let stat = |directory| Ok(statat(directory, format!("ns/{file}"), AtFlags::empty())?.st_ino);
    let told = process.directory().and_then(stat);
    let request = REQUESTS.iter().find(|(name, _)| *name == file);
    match (&told, request) {
        (Err(_), Some((_, request))) if process.is_own => {
            let pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
            sys::namespace(&pidfd, *request).map_or(told, |file| Ok(fstat(file)?.st_ino))
        }
        _ => told,
    }
}

impl Namespaces {
    /// One of a kind. A state that somebody else wrote may leave it out.
    pub fn get(&self, kind: Kind) -> Result<&Namespace, Unknown> {
        let answer = self.own.get(&kind).ok_or_else(|| Unknown::new("not saved"))?;
        answer.as_ref().map_err(Clone::clone)
    }

    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (kind, answer) in &self.own {
            let fact = Fact::of(Topic::Namespace, kind.name(), answer.as_ref(), |namespace| {
                namespace.inode.to_string()
            });
            facts.push(fact.note(answer.known().map_or(String::new(), Namespace::note)));
        }
        // Where the next child will be is worth a line only if that is elsewhere.
        let children = [
            (Kind::Pid, "children's pid", &self.pid_for_children),
            (Kind::Time, "children's time", &self.time_for_children),
        ];
        for (kind, name, answer) in children {
            if let (Ok(own), Some(inode)) = (self.get(kind), answer.known())
                && own.inode != *inode
            {
                facts.push(Fact::new(Topic::Namespace, name, [inode.to_string()]));
            }
        }
        facts
    }
}

impl Namespace {
    fn note(&self) -> String {
        let initial = match self.initial {
            Some(true) => MACHINE,
            Some(false) => "not the machine's",
            None => "",
        };
        let parent = if self.of_parent == Some(false) { "not its parent's" } else { "" };
        [initial, parent].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
    }
}
