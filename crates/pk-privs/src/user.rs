//! Whom to become. Names are looked up in `/etc/passwd` and `/etc/group` here and not by libc,
//! whose lookups would load modules of a root that is not trusted. `passwd(5)`, `group(5)`.

use crate::capabilities::make_effective;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use pk::{Attempt, Error, Result, Steps};
use rustix::thread::set_keep_capabilities;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;

/// A file that is larger is not read further.
const LIMIT: u64 = 4 << 20;

/// `USER[:GROUP[,GROUP]...]`, each a name or a number.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    name: String,
    group: Option<String>,
    others: Vec<String>,
}

/// The numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// The two files; empty where they are missing.
struct Database {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl FromStr for User {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (user, groups) =
            text.split_once(':').map_or((text, None), |(user, rest)| (user, Some(rest)));
        let mut groups = groups.into_iter().flat_map(|groups| groups.split(','));
        let (group, others) =
            (groups.next().map(str::to_owned), groups.map(str::to_owned).collect());
        let user = Self { name: user.to_owned(), group, others };
        let named = user.group.iter().chain(&user.others).chain([&user.name]);
        if named.into_iter().any(String::is_empty) {
            return Err("is not USER[:GROUP[,GROUP...]]");
        }
        Ok(user)
    }
}

impl User {
    /// The numbers, by the files of the root that this process is in.
    pub fn find(&self) -> Result<Identity> {
        let database = Database { passwd: read("/etc/passwd")?, group: read("/etc/group")? };
        database.find(self)
    }
}

impl Database {
    /// As Docker does: a number needs no entry, and has group 0 without one; the user's other
    /// groups come along unless a group is named.
    fn find(&self, user: &User) -> Result<Identity> {
        let name = user.name.as_bytes();
        let unknown = |what: &str, name: &str, file: &str| {
            Error::new(format!("--user {name:?}"), format!("no such {what} in {file}"))
        };
        let passwd = || entries(&self.passwd).filter(|entry| entry.len() >= 4);
        let number_given = number(name);
        let entry = passwd().find(|entry| entry[0] == name).or_else(|| {
            passwd().find(|entry| number_given.is_some() && number(entry[2]) == number_given)
        });
        let uid = entry.as_ref().map_or(number_given, |entry| number(entry[2]));
        let uid = uid.ok_or_else(|| unknown("user", &user.name, "/etc/passwd"))?;
        let own_group = entry.as_ref().and_then(|entry| number(entry[3])).unwrap_or(0);
        let group =
            |group: &String| self.group(group).ok_or_else(|| unknown("group", group, "/etc/group"));
        let (gid, groups) = match &user.group {
            None => (own_group, entry.map_or(Vec::new(), |entry| self.groups_of(entry[0]))),
            Some(first) => (group(first)?, user.others.iter().map(group).collect::<Result<_>>()?),
        };
        Ok(Identity { uid, gid, groups })
    }

    fn group(&self, name: &str) -> Option<u32> {
        let mut groups = entries(&self.group).filter(|entry| entry.len() >= 3);
        let entry = groups.find(|entry| entry[0] == name.as_bytes());
        entry.map_or_else(|| number(name.as_bytes()), |entry| number(entry[2]))
    }

    fn groups_of(&self, user: &[u8]) -> Vec<u32> {
        let member = |entry: &Vec<&[u8]>| {
            let members = entry.get(3).map_or(&b""[..], |members| members);
            members.split(|&byte| byte == b',').any(|member| member == user)
        };
        entries(&self.group).filter(member).filter_map(|entry| number(entry[2])).collect()
    }
}

impl Identity {
    /// Becomes the user. With `keeps_capabilities` the steps that follow still have what the
    /// process had, although it may no longer be root; PROG has only what they leave.
    pub fn add_step(self, keeps_capabilities: bool, steps: &mut Steps) {
        let Self { uid, gid, ref groups } = self;
        // A user namespace that maps one group only forbids setgroups for good.
        let denied =
            fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny");
        let sets_groups = !denied || !groups.is_empty();
        let list = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let mut calls = vec![
            format!("setresgid({gid}, {gid}, {gid})"),
            format!("setresuid({uid}, {uid}, {uid})"),
        ];
        let mut options = String::new();
        if sets_groups {
            let list = if groups.is_empty() { "NULL" } else { &format!("[{list}]") };
            calls.insert(0, format!("setgroups({}, {list})", groups.len()));
            options = if groups.is_empty() {
                " --clear-groups".to_owned()
            } else {
                format!(" --groups {}", list.replace(['[', ' ', ']'], ""))
            };
        }
        if keeps_capabilities {
            calls.insert(0, "prctl(PR_SET_KEEPCAPS, 1)".to_owned());
            calls.push("prctl(PR_SET_KEEPCAPS, 0)".to_owned());
            calls.push("capset({effective = permitted, ...})".to_owned());
        }
        steps.add(
            "groups first: who is not root cannot change them",
            calls.join(", "),
            format!("setpriv{options} --regid {gid} --reuid {uid} PROG"),
            move |()| {
                pk::keep_parent_death_signal(|| self.become_it(sets_groups, keeps_capabilities))
                    .map_err(|error| {
                        let hint = why_not(error.errno(), denied);
                        error.hint(hint)
                    })
            },
        );
    }

    /// When the last of its user ids that is 0 becomes another one, a process loses its
    /// capabilities, but with KEEPCAPS for the permitted ones.
    fn become_it(self, sets_groups: bool, keeps_capabilities: bool) -> Result<()> {
        let (user, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if keeps_capabilities {
            set_keep_capabilities(true)?;
        }
        if sets_groups {
            let groups: Vec<Gid> = self.groups.into_iter().map(Gid::from_raw).collect();
            setgroups(&groups)?;
        }
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        if keeps_capabilities {
            set_keep_capabilities(false)?;
            make_effective()?;
        }
        Ok(())
    }
}

fn why_not(errno: Option<Errno>, denied: bool) -> Option<String> {
    if errno == Some(Errno::EINVAL) {
        let hint =
            "an id is not mapped in this user namespace: pk-ns --map-auto maps more than one";
        return Some(hint.to_owned());
    }
    if denied {
        let hint = "this user namespace maps one group only, and has no others: pk-ns --map-auto";
        return Some(hint.to_owned());
    }
    pk::not_root(errno)
}

fn read(path: &str) -> Result<Vec<u8>> {
    let call = format!("open({path:?})");
    // Not to wait for who may write to a pipe.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::from(error).attempting(call)),
    };
    if !file.metadata().attempt(&call)?.is_file() {
        return Err(Error::new(call, "is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).attempt(call)?;
    Ok(text)
}

/// The lines of such a file, split at their colons.
fn entries(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':').collect())
}

/// An id. The largest number is none: setresuid would take it for "as it is", and stay root.
fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&id| id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Option<(u32, u32, Vec<u32>)> {
        let database = Database {
            passwd: b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n\
                7:x:8:9::/seven:\nbad:x:1\n+\n\n"
                .to_vec(),
            group: b"root:x:0:\ntty:x:5:app,other\naudio:x:29:other\nvideo:x:44:app\nempty:x:3\n"
                .to_vec(),
        };
        let identity = database.find(&text.parse().ok()?).ok()?;
        Some((identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let table = [
            ("root", Some((0, 0, vec![]))),
            ("app", Some((1000, 1001, vec![5, 44]))),
            ("1000", Some((1000, 1001, vec![5, 44]))),
            ("app:tty", Some((1000, 5, vec![]))),
            ("app:tty,audio,77", Some((1000, 5, vec![29, 77]))),
            ("4242", Some((4242, 0, vec![]))),
            ("4242:audio", Some((4242, 29, vec![]))),
            // A name that looks like a number is a name.
            ("7", Some((8, 9, vec![]))),
            ("nobody", None),
            ("app:nobody", None),
            ("app:tty,nobody", None),
            ("bad", None),
            ("", None),
            (":tty", None),
            ("app:", None),
            ("app:tty,", None),
            ("-1", None),
            ("4294967295", None),
            ("app:4294967295", None),
        ];
        for (text, expected) in table {
            assert_eq!(find(text), expected, "{text}");
        }
    }
}
