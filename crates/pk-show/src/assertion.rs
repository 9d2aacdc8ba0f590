//! `--assert 'pid=new,hostname=box,nnp=1'`: what a script wants to be so.

use crate::answer::{Answer, Unknown};
use crate::capabilities;
use crate::cgroup::Meter;
use crate::namespaces::Kind;
use crate::state::State;
use pk::Error;
use std::str::FromStr;

/// What `--help` says of them.
pub const NAMES: &str = "\
LIST is NAME=VALUE,... Where VALUE is a list its words are joined by +.
  cgroup ipc mount net pid time user uts
                new or same: compared with FILE of --diff, else with what the machine started with
  pid           also a number: its PID inside the PID namespace
  hostname, directory, lsm, cpuset        a text; lsm=none
  nnp           0 or 1: no_new_privs
  seccomp       none, strict or filter
  uid, gid      a number: the effective id
  securebits    the words of pk-privs --securebits, or none
  groups        the supplementary groups, or none
  root          mount, or chroot: a directory that is no mount
  effective permitted bounding inheritable ambient
                the capabilities: all, none or names, as in bounding=CHOWN+KILL
  memory, pids, cpus                      the lowest limit of its cgroups, or none
  devices       the network devices, or none
  descriptors   the numbers of those that are open, or none
  nofile, ...   a resource limit, SOFT[:HARD]; names as in prlimit(1)
  /PATH         what is mounted there: none, or words that hold of its type, flags and
                propagation, as in /proc=proc+nosuid";

/// `NAME=VALUE`
#[derive(Clone, Debug, PartialEq)]
struct Assertion {
    name: String,
    wanted: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assertions(Vec<Assertion>);

impl FromStr for Assertions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |word: &str| {
            let (name, wanted) =
                word.split_once('=').ok_or(format!("{word:?} is not NAME=VALUE"))?;
            let assertion = Assertion { name: name.to_owned(), wanted: wanted.to_owned() };
            assertion.check_words()?;
            Ok(assertion)
        };
        text.split(',').map(one).collect::<Result<_, String>>().map(Self)
    }
}

impl Assertions {
    /// What does not hold. `reference` is what `new` and `same` are compared with.
    pub fn failures(&self, state: &State, reference: Option<&State>) -> Vec<Error> {
        let failure = |assertion: &Assertion| {
            let reason = match assertion.actual(state, reference) {
                Err(unknown) => format!("is unknown ({})", unknown.reason),
                Ok(actual) if actual == assertion.wanted() => return None,
                Ok(actual) if assertion.kind().is_some() => {
                    format!("it is {} one", if actual == "new" { "a new" } else { "the same" })
                }
                Ok(actual) => format!("it is {actual}"),
            };
            let Assertion { name, wanted } = assertion;
            Some(Error::new(format!("--assert {name}={wanted}"), reason))
        };
        self.0.iter().filter_map(failure).collect()
    }
}

impl Assertion {
    fn kind(&self) -> Option<Kind> {
        let is_number = self.wanted.parse::<u32>().is_ok();
        let mut kinds = Kind::ALL.into_iter().filter(|_| !is_number);
        kinds.find(|kind| kind.name() == self.name)
    }

    /// Finds a name or a value that could never hold before anything is read.
    fn check_words(&self) -> Result<(), String> {
        let Self { name, wanted } = self;
        let words: &[&str] = match name.as_str() {
            _ if self.kind().is_some() => &["new", "same"],
            "nnp" => &["0", "1"],
            "seccomp" => &["none", "strict", "filter"],
            "root" => &["mount", "chroot"],
            _ if wanted.is_empty() => return Err(format!("{name} has no value")),
            "memory" if wanted != "none" && pk::bytes(wanted).is_none() => {
                return Err(format!("{wanted:?} is no size"));
            }
            name if name.starts_with('/') => &[],
            _ => match self.actual(&State::default(), None) {
                Err(unknown) if unknown.reason == NO_NAME => {
                    return Err(format!("{name:?} is not one of the names that --help lists"));
                }
                _ => &[],
            },
        };
        if words.is_empty() || words.contains(&wanted.as_str()) {
            return Ok(());
        }
        Err(format!("{name} is {}, not {wanted:?}", words.join(" or ")))
    }

    /// The wanted value as [`Self::actual`] would say it.
    fn wanted(&self) -> String {
        let words = || self.wanted.split('+');
        match self.name.as_str() {
            "effective" | "permitted" | "bounding" | "inheritable" | "ambient" => {
                let name = |word: &str| {
                    let word = word.to_ascii_uppercase();
                    word.strip_prefix("CAP_").map_or(word.clone(), str::to_owned)
                };
                match self.wanted.as_str() {
                    "all" | "none" => self.wanted.clone(),
                    _ => sorted(words().map(name)),
                }
            }
            "groups" | "devices" | "descriptors" | "securebits" => {
                sorted(words().map(str::to_owned))
            }
            "memory" => pk::bytes(&self.wanted).map_or("none".to_owned(), |size| size.to_string()),
            _ => self.wanted.clone(),
        }
    }

    fn actual(&self, state: &State, reference: Option<&State>) -> Result<String, Unknown> {
        if let Some(kind) = self.kind() {
            return namespace(kind, state, reference);
        }
        let text = match self.name.as_str() {
            "pid" => known(&state.process.pid)?.to_string(),
            "hostname" => known(&state.hostname)?.clone(),
            "directory" => known(&state.directory)?.clone(),
            "lsm" => known(&state.privileges.lsm)?.clone().unwrap_or("none".to_owned()),
            "cpuset" => known(&state.cgroups.cpuset)?.clone(),
            "nnp" => u8::from(*known(&state.privileges.no_new_privs)?).to_string(),
            "seccomp" => known(&state.privileges.seccomp.mode)?.name().to_owned(),
            "securebits" => sorted(known(&state.privileges.securebits)?.iter().cloned()),
            "uid" => known(&state.user.uid)?.effective.to_string(),
            "gid" => known(&state.user.gid)?.effective.to_string(),
            "groups" => sorted(known(&state.user.groups)?.iter().map(u32::to_string)),
            "root" => match known(&state.root)?.is_mount {
                Some(true) => "mount".to_owned(),
                Some(false) => "chroot".to_owned(),
                None => return Err(Unknown::not_told()),
            },
            "memory" => limit(&state.cgroups.memory)?,
            "pids" => limit(&state.cgroups.pids)?,
            "cpus" => known(&state.cgroups.cpus)?.map_or("none".to_owned(), |n| n.to_string()),
            "devices" => sorted(known(&state.devices)?.iter().map(|device| device.name.clone())),
            "descriptors" => {
                sorted(known(&state.descriptors)?.iter().map(|one| one.number.to_string()))
            }
            path if path.starts_with('/') => mount(path, &self.wanted, state)?,
            name => return capabilities_or_limit(name, state, &self.wanted),
        };
        Ok(text)
    }
}

const NO_NAME: &str = "there is no such name";

fn known<T>(answer: &Answer<T>) -> Result<&T, Unknown> {
    answer.as_ref().map_err(Clone::clone)
}

fn limit(meter: &Answer<Meter>) -> Result<String, Unknown> {
    Ok(known(meter)?.limit.map_or("none".to_owned(), |limit| limit.to_string()))
}

fn sorted(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    words.sort_by_key(|word| (word.parse::<u64>().ok(), word.clone()));
    if words.is_empty() { "none".to_owned() } else { words.join("+") }
}

/// The inode says it: two namespaces of a kind never have the same one at the same time.
fn namespace(kind: Kind, state: &State, reference: Option<&State>) -> Result<String, Unknown> {
    let get = |state: &State| state.namespaces.get(kind).cloned();
    let own = get(state)?;
    let is_same = match reference {
        Some(reference) => own.inode == get(reference)?.inode,
        None => own.initial.ok_or_else(|| {
            Unknown::new(
                "neither this kernel nor PID 1 tells the machine's: compare with --diff FILE",
            )
        })?,
    };
    Ok(if is_same { "same" } else { "new" }.to_owned())
}

/// The wanted words if they hold, else what is mounted there.
fn mount(path: &str, wanted: &str, state: &State) -> Result<String, Unknown> {
    let mounts = known(&state.mounts)?;
    let Some(mount) = mounts.iter().rfind(|mount| mount.point == path) else {
        return Ok("none".to_owned());
    };
    let mut words: Vec<&str> = vec![&mount.filesystem];
    words.extend(mount.flags.iter().map(String::as_str));
    words.extend(mount.propagation.split(','));
    if wanted != "none" && wanted.split('+').all(|word| words.contains(&word)) {
        return Ok(wanted.to_owned());
    }
    Ok(words.join("+"))
}

fn capabilities_or_limit(name: &str, state: &State, wanted: &str) -> Result<String, Unknown> {
    if let Some((_, set)) = state.capabilities.sets().into_iter().find(|(set, _)| *set == name) {
        let set = known(set)?;
        return Ok(match capabilities::text(set).as_str() {
            text @ ("all" | "none") => text.to_owned(),
            _ => sorted(set.iter().cloned()),
        });
    }
    if !crate::limits::is_name(name) {
        return Err(Unknown::new(NO_NAME));
    }
    let limit = known(&state.limits)?.get(name).ok_or_else(Unknown::not_told)?;
    let text = limit.text();
    // One number is the soft limit's.
    Ok(match text.split_once(':') {
        Some((soft, _)) if !wanted.contains(':') => soft.to_owned(),
        _ => text,
    })
}
