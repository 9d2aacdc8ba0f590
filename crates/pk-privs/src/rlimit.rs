//! Resource limits: `getrlimit(2)`, `prlimit(1)`.

use pk::{Error, Steps};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::fmt::{self, Display};
use std::str::FromStr;

/// In the spelling of `prlimit(1)` and Docker.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// The names, for who asks what there is.
pub fn names() -> Vec<&'static str> {
    NAMES.map(|(name, _)| name).to_vec()
}

/// `RESOURCE=SOFT[:HARD]`; one value is both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    name: &'static str,
    resource: Resource,
    /// Nothing where it is unlimited.
    soft: Option<u64>,
    hard: Option<u64>,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').ok_or("is not RESOURCE=SOFT[:HARD]")?;
        let known = NAMES.iter().find(|(other, _)| name == *other);
        let &(name, resource) =
            known.ok_or_else(|| format!("{name:?} is not one of {}", names().join(", ")))?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (value(soft)?, value(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err("the soft limit is above the hard one".to_owned());
        }
        Ok(Self { name, resource, soft, hard })
    }
}

fn value(text: &str) -> Result<Option<u64>, String> {
    match text {
        // Docker's word for it is -1.
        "unlimited" | "-" | "-1" => Ok(None),
        // The largest number is the kernel's word for it.
        _ => match text.parse() {
            Ok(number) if number < u64::MAX => Ok(Some(number)),
            _ => Err(format!("{text:?} is neither a number nor unlimited")),
        },
    }
}

impl Limit {
    /// Before capabilities are dropped: raising a hard limit needs `CAP_SYS_RESOURCE`.
    pub fn add_step(self, steps: &mut Steps) {
        let [soft, hard] = [self.soft, self.hard].map(Shown);
        let constant = self.name.to_ascii_uppercase();
        steps.add(
            "of a resource that this process and its children may use",
            format!("setrlimit(RLIMIT_{constant}, {{rlim_cur = {soft:#}, rlim_max = {hard:#}}})"),
            format!("prlimit --pid $$ --{}={soft}:{hard}", self.name),
            move |()| {
                let limit = Rlimit { current: self.soft, maximum: self.hard };
                setrlimit(self.resource, limit)
                    .map_err(|errno| Error::from(errno).hint(self.why_not(errno)))
            },
        );
    }

    fn why_not(self, errno: Errno) -> Option<String> {
        let now = getrlimit(self.resource).maximum;
        let raises = self.hard.unwrap_or(u64::MAX) > now.unwrap_or(u64::MAX);
        if errno != Errno::PERM || !raises {
            return None;
        }
        if !crate::capabilities::is_effective(CapabilitySet::SYS_RESOURCE) {
            let now = Shown(now);
            return Some(format!(
                "the hard limit is {now}, and to raise it takes CAP_SYS_RESOURCE"
            ));
        }
        let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?;
        let most = most.trim();
        (self.resource == Resource::Nofile)
            .then(|| format!("no process may have more than fs.nr_open files, which is {most}"))
    }
}

/// A limit as `prlimit(1)` takes it; with `#`, as strace writes it.
struct Shown(Option<u64>);

impl Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(number) => write!(formatter, "{number}"),
            None if formatter.alternate() => formatter.write_str("RLIM_INFINITY"),
            None => formatter.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_name_and_one_or_two_values() {
        let table = [
            ("nofile=1024", ("nofile", Some(1024), Some(1024))),
            ("nofile=1024:4096", ("nofile", Some(1024), Some(4096))),
            ("core=0:unlimited", ("core", Some(0), None)),
            ("stack=-", ("stack", None, None)),
            ("as=-1:-1", ("as", None, None)),
            ("cpu=18446744073709551614", ("cpu", Some(u64::MAX - 1), Some(u64::MAX - 1))),
        ];
        for (text, expected) in table {
            let limit: Limit = text.parse().unwrap();
            assert_eq!((limit.name, limit.soft, limit.hard), expected, "{text}");
        }
        for wrong in [
            "",
            "nofile",
            "nofile=",
            "nofile=1:",
            "nofile=:1",
            "NOFILE=1",
            "files=1",
            "nofile=2:1",
            "nofile=unlimited:1",
            "nofile=1k",
            "nofile=-2",
            "nofile=1:2:3",
            "nofile=18446744073709551615",
        ] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
    }
}
