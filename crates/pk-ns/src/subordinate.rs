//! Ids that are granted to ordinary users: `subuid(5)`, `subgid(5)`.

use nix::unistd::geteuid;
use pk::{Attempt, Error, IdRange, Result};
use std::fs;

/// The caller as 0 and its subordinate ids from 1 on, as the tools of rootless containers do.
pub fn with_subordinates(own: u32, file: &str) -> Result<Vec<IdRange>> {
    let text = fs::read_to_string(file).attempt(format_args!("open({file:?})"))?;
    let uid = geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").attempt("open(\"/etc/passwd\")")?;
    let name = login_name(&passwd, uid).unwrap_or_default();
    let mut ranges = vec![IdRange { inner: 0, outer: own, count: 1 }];
    for (first, count) in subordinates(&text, name, uid) {
        let inner = ranges.last().map_or(0, |last| last.inner + last.count);
        ranges.extend(IdRange::new(inner, first, count));
    }
    if ranges.len() == 1 {
        let who = if name.is_empty() { uid.to_string() } else { name.to_owned() };
        return Err(Error::new("--map-auto", format!("{file} grants {who} no ids")).hint(format!(
            "root can grant some: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}"
        )));
    }
    Ok(ranges)
}

/// The name of a user in `passwd(5)`.
fn login_name(passwd: &str, uid: u32) -> Option<&str> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() > 2 && fields[2] == uid.to_string())
        .map(|fields| fields[0])
        .next()
}

/// The ranges that `subuid(5)` grants, by name or by number: first id and count.
fn subordinates(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let (who, range) = line.split_once(':')?;
        let (first, count) = range.split_once(':')?;
        let granted = (!name.is_empty() && who == name) || who == uid.to_string();
        granted.then_some((first.trim().parse().ok()?, count.trim().parse().ok()?))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_granted_by_name_or_number() {
        let text = "root:1:2\nlearner:100000:65536\n# x\n1000:300000:10\nlearner:bad:1\nlearner\n";
        assert_eq!(subordinates(text, "learner", 1000), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(subordinates(text, "", 1000), [(300_000, 10)]);
        assert_eq!(subordinates(text, "nobody", 65_534), []);
    }

    #[test]
    fn a_name_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nlearner:x:1000:1000::/home/learner:\nbad\n";
        assert_eq!(login_name(passwd, 1000), Some("learner"));
        assert_eq!(login_name(passwd, 7), None);
    }
}
