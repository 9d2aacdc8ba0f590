//! Whom to become: users and groups of the root that this process is in.

use crate::capabilities::make_effective;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use pk::{Accounts, Attempt, Error, Ids, Result, Steps};
use rustix::thread::set_keep_capabilities;
use std::str::FromStr;

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
    /// The numbers, by the files of the root that this process is in. As Docker does: the user's
    /// other groups come along unless a group is named.
    pub fn find(&self) -> Result<Identity> {
        let root =
            open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).attempt("open(\"/\")")?;
        self.find_among(&Accounts::read(root)?)
    }

    fn find_among(&self, accounts: &Accounts) -> Result<Identity> {
        let unknown = |what: &str, name: &str, file: &str| {
            Error::new(format!("--user {name:?}"), format!("no such {what} in {file}"))
        };
        let user = accounts.user(&self.name);
        let user = user.ok_or_else(|| unknown("user", &self.name, "/etc/passwd"))?;
        let group = |name: &String| {
            accounts.group(name).ok_or_else(|| unknown("group", name, "/etc/group"))
        };
        let (gid, groups) = match &self.group {
            None => (user.gid, user.groups),
            Some(first) => (group(first)?, self.others.iter().map(group).collect::<Result<_>>()?),
        };
        Ok(Identity { uid: user.uid, gid, groups })
    }
}

impl Identity {
    /// Becomes the user. With `keeps_capabilities` the steps that follow still have what the
    /// process had, although it may no longer be root; PROG has only what they leave.
    /// `setpriv` are options by which a shell does so as far as it has to.
    pub fn add_step(self, keeps_capabilities: bool, setpriv: &str, steps: &mut Steps) {
        let ids = Ids::of_user(self.uid, self.gid, self.groups);
        let (mut call, mut shell) = (ids.call(), format!("exec setpriv {} sh", ids.setpriv()));
        if keeps_capabilities {
            call = format!(
                "prctl(PR_SET_KEEPCAPS, 1), {call}, prctl(PR_SET_KEEPCAPS, 0), \
                 capset({{effective = permitted, ...}})"
            );
            shell = format!("exec setpriv {} {setpriv} sh", ids.setpriv());
        }
        steps.add("groups first: who is not root cannot change them", call, shell, move |()| {
            become_user(&ids, keeps_capabilities).map_err(|error| {
                let errno = error.errno();
                error.hint(Ids::why_not(errno).or_else(|| pk::not_root(errno)))
            })
        });
    }
}

/// When the last of its user ids that is 0 becomes another one, a process loses its capabilities,
/// but with KEEPCAPS for the permitted ones.
fn become_user(ids: &Ids, keeps_capabilities: bool) -> Result<()> {
    if !keeps_capabilities {
        return ids.set();
    }
    set_keep_capabilities(true)?;
    ids.set()?;
    set_keep_capabilities(false)?;
    Ok(make_effective()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn find(text: &str) -> Option<(u32, u32, Vec<u32>)> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "app:x:1000:1001::/home/app:\n";
        let group = "tty:x:5:app,other\naudio:x:29:other\nvideo:x:44:app\n";
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        fs::write(root.path().join("etc/group"), group).unwrap();
        let accounts = Accounts::read(fs::File::open(root.path()).unwrap()).unwrap();
        let identity = text.parse::<User>().ok()?.find_among(&accounts).ok()?;
        Some((identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn other_groups_are_those_named_or_those_of_the_user() {
        let table = [
            ("app", Some((1000, 1001, vec![5, 44]))),
            ("app:tty", Some((1000, 5, vec![]))),
            ("app:tty,audio,77", Some((1000, 5, vec![29, 77]))),
            ("4242", Some((4242, 0, vec![]))),
            ("4242:audio", Some((4242, 29, vec![]))),
            ("app:nobody", None),
            ("app:tty,nobody", None),
            ("", None),
            (":tty", None),
            ("app:", None),
            ("app:tty,", None),
            ("4294967295", None),
            ("app:4294967295", None),
        ];
        for (text, expected) in table {
            assert_eq!(find(text), expected, "{text}");
        }
    }
}
