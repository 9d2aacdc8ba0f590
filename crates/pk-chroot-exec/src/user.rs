//! Users and groups of ROOT. Its files are parsed here and not by libc, whose lookups would load
//! modules of an untrusted root. `passwd(5)`, `group(5)`.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use pk::{Attempt, Error, Result, Steps};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

/// A file that is larger is not read further.
const LIMIT: u64 = 4 << 20;

/// ROOT's `/etc/passwd` and `/etc/group`; empty where they are missing.
pub struct Users {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

/// Whom to become.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    pub home: OsString,
}

impl Users {
    pub fn read(root: &OwnedFd) -> Result<Self> {
        Ok(Self {
            passwd: read_inside(root, "/etc/passwd")?,
            group: read_inside(root, "/etc/group")?,
        })
    }

    /// `USER[:GROUP]`, each a name or a number. As Docker does: a number needs no entry, and has
    /// group 0 without one; with a GROUP there are no supplementary groups.
    pub fn find(&self, spec: &str) -> Result<Identity> {
        let (user, group) =
            spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
        let unknown = |what, file| {
            Error::new(format!("--user {spec:?}"), format!("no such {what} in ROOT's {file}"))
        };
        let entry =
            entries(&self.passwd).find(|entry| entry.len() >= 6 && entry[0] == user.as_bytes());
        let entry = entry.or_else(|| self.entry_of(number(user.as_bytes())?));
        let uid = match &entry {
            Some(entry) => number(entry[2]),
            None => number(user.as_bytes()),
        };
        let uid = uid.ok_or_else(|| unknown("user", "/etc/passwd"))?;
        let name = entry.as_ref().map(|entry| entry[0]);
        let own_group = entry.as_ref().and_then(|entry| number(entry[3])).unwrap_or(0);
        let (gid, groups) = match group {
            None => (own_group, self.groups_of(name)),
            Some(group) => {
                (self.group(group).ok_or_else(|| unknown("group", "/etc/group"))?, Vec::new())
            }
        };
        Ok(Identity { uid, gid, groups, home: self.home(uid) })
    }

    /// A user's home, `/` without an entry.
    pub fn home(&self, uid: u32) -> OsString {
        let home = self.entry_of(uid).map(|entry| entry[5]).filter(|home| !home.is_empty());
        OsString::from_vec(home.unwrap_or(b"/").to_vec())
    }

    fn entry_of(&self, uid: u32) -> Option<Vec<&[u8]>> {
        entries(&self.passwd).find(|entry| entry.len() >= 6 && number(entry[2]) == Some(uid))
    }

    fn group(&self, group: &str) -> Option<u32> {
        let entry =
            entries(&self.group).find(|entry| entry.len() >= 3 && entry[0] == group.as_bytes());
        entry.map_or_else(|| number(group.as_bytes()), |entry| number(entry[2]))
    }

    fn groups_of(&self, user: Option<&[u8]>) -> Vec<u32> {
        let member = |entry: &Vec<&[u8]>| {
            let mut members =
                entry.get(3).map_or(&b""[..], |members| members).split(|&byte| byte == b',');
            members.any(|member| !member.is_empty() && Some(member) == user)
        };
        entries(&self.group).filter(member).filter_map(|entry| number(entry[2])).collect()
    }
}

impl Identity {
    pub fn uid(&self) -> Uid {
        Uid::from_raw(self.uid)
    }

    pub fn add_step(self, steps: &mut Steps) {
        let Self { uid, gid, groups, .. } = self;
        // A user namespace that maps one group only forbids setgroups for good.
        let denied =
            fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny");
        let sets_groups = !denied || !groups.is_empty();
        let list = groups.iter().map(u32::to_string).collect::<Vec<_>>();
        let ids = format!("setresgid({gid}, {gid}, {gid}), setresuid({uid}, {uid}, {uid})");
        let (call, shell) = match list.len() {
            _ if !sets_groups => (ids, String::new()),
            0 => (format!("setgroups(0, NULL), {ids}"), " --clear-groups".to_owned()),
            count => (
                format!("setgroups({count}, [{}]), {ids}", list.join(", ")),
                format!(" --groups {}", list.join(",")),
            ),
        };
        let shell = format!("setpriv{shell} --regid {gid} --reuid {uid} PROG");
        steps.add("groups first: without root they cannot be changed", call, shell, move |()| {
            let become_user = || {
                let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
                if sets_groups {
                    setgroups(&groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
                }
                setresgid(group, group, group)?;
                Ok(setresuid(user, user, user)?)
            };
            pk::keep_parent_death_signal(become_user).map_err(|error| {
                let unmapped = error.errno() == Some(Errno::EINVAL);
                let hint = if unmapped {
                    Some("an id is not mapped in this user namespace: pk-ns --map-auto maps more than one")
                } else if denied {
                    Some("this user namespace maps one group only, and has no others: pk-ns --map-auto")
                } else {
                    None
                };
                error.hint(hint.map(str::to_owned))
            })
        });
    }
}

/// A file of ROOT, with every link in its path resolved inside.
fn read_inside(root: &OwnedFd, path: &str) -> Result<Vec<u8>> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let call = format!("openat2(ROOT, {path:?})");
    let file = match openat2(root, path, how) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::from(errno).attempting(call)),
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

    fn users() -> Users {
        Users {
            passwd: b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n\
                7:x:8:9::/seven:\nhome:x:5:5:::\nbad:x:1\n+\n\n"
                .to_vec(),
            group: b"root:x:0:\ntty:x:5:app,other\naudio:x:29:other\nvideo:x:44:app\nempty:x:3\n"
                .to_vec(),
        }
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let identity = |uid, gid, groups: &[u32], home: &str| {
            Some(Identity { uid, gid, groups: groups.to_vec(), home: home.into() })
        };
        let table = [
            ("root", identity(0, 0, &[], "/root")),
            ("app", identity(1000, 1001, &[5, 44], "/home/app")),
            ("1000", identity(1000, 1001, &[5, 44], "/home/app")),
            ("app:tty", identity(1000, 5, &[], "/home/app")),
            ("app:77", identity(1000, 77, &[], "/home/app")),
            ("4242", identity(4242, 0, &[], "/")),
            ("4242:audio", identity(4242, 29, &[], "/")),
            // A name that looks like a number is a name.
            ("7", identity(8, 9, &[], "/seven")),
            ("home", identity(5, 5, &[], "/")),
            ("nobody", None),
            ("app:nobody", None),
            ("bad", None),
            ("", None),
            ("-1", None),
            ("4294967295", None),
            ("app:4294967295", None),
        ];
        for (spec, expected) in table {
            assert_eq!(users().find(spec).ok(), expected, "{spec}");
        }
    }

    #[test]
    fn a_root_without_files_has_numbers_only() {
        let users = Users { passwd: Vec::new(), group: Vec::new() };
        assert_eq!(users.find("0:0").unwrap().home, "/");
        assert!(users.find("root").is_err());
    }
}
