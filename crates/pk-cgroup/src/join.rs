//! `--join PID`: into the groups of a running process, the cgroup half of `docker exec`.

use crate::State;
use crate::delegation::Delegation;
use crate::hierarchy::{Hierarchy, lines, parse};
use pk::{Attempt, Error, Prog, Result, Steps, quote};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open, openat};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// A group to enter, and the one that is left for it.
#[derive(Debug, PartialEq)]
struct Move {
    to: PathBuf,
    from: Option<PathBuf>,
}

/// Enters the group of the process in every hierarchy where it is not ours already, and becomes
/// PROG there.
pub fn join(pid: i32, prog: Prog) -> Result<Steps<State>> {
    let call = format_args!("open(\"/proc/{pid}/cgroup\")");
    let (theirs, status) = (|| {
        // Both files are of the same process, however fast its number is given away.
        let process = open(format!("/proc/{pid}"), FLAGS | OFlags::DIRECTORY, Mode::empty())?;
        Ok::<_, Error>((read(&process, "cgroup")?, read(&process, "status")?))
    })()
    .attempt(call)?;
    // One that has ended and waits for its parent is in the root of every v1 hierarchy already.
    if lines(&status).any(|line| line.starts_with(b"State:\tZ")) {
        return Err(Error::new(call, "the process has ended (it is a zombie)"));
    }
    let read = |path| std::fs::read(path).attempt(format_args!("open({path:?})"));
    let (mounts, ours) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let mut steps = Steps::new(State::default());
    for Move { to, from } in moves(&mounts, &ours, &theirs)? {
        let file = to.join("cgroup.procs");
        steps.add(
            "the same limits and the same counting as for the process that is joined",
            format!("write({file:?}, \"0\")"),
            format!("echo $$ > {}", quote(&file)),
            move |state| state.group.enter(&to, &Delegation::new(from, Vec::new())),
        );
    }
    steps.exec(prog);
    Ok(steps)
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

fn read(process: &OwnedFd, name: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    File::from(openat(process, name, FLAGS, Mode::empty())?).read_to_end(&mut text)?;
    Ok(text)
}

/// What differs between two `/proc/PID/cgroup`, as directories of the mounts that show it.
fn moves(mountinfo: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Vec<Move>> {
    let mut moves = Vec::new();
    for line in lines(theirs).filter(|&line| !lines(ours).any(|own| own == line)) {
        let text = String::from_utf8_lossy(line);
        let error = |reason| Error::new(format_args!("--join: {text:?}"), reason);
        // `ID:CONTROLLERS:GROUP`; the first two name the hierarchy.
        let Some(colon) = text.match_indices(':').nth(1).map(|(at, _)| at) else { continue };
        let own = lines(ours).find(|own| own.starts_with(&line[..=colon]));
        let own = own.and_then(|own| parse(mountinfo, own).pop()?.own);
        let Some(Hierarchy { own: to, point, .. }) = parse(mountinfo, line).pop() else {
            return Err(error("this hierarchy is not mounted here".to_owned()));
        };
        let to = to.ok_or_else(|| error(format!("this group is not below {point:?}")))?;
        moves.push(Move { to, from: own });
    }
    Ok(moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"23 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        33 23 0:30 / /cg/pids rw - cgroup cgroup rw,pids\n\
        34 23 0:31 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 23 0:32 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        36 23 0:33 /box /cg/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn each_group_that_differs_is_entered() {
        let check = |what, ours: &str, theirs: &str, expected: &[(&str, Option<&str>)]| {
            let moves = moves(MOUNTS, ours.as_bytes(), theirs.as_bytes()).unwrap();
            let expected: Vec<Move> = expected
                .iter()
                .map(|&(to, from)| Move { to: to.into(), from: from.map(Into::into) })
                .collect();
            assert_eq!(moves, expected, "{what}");
        };
        check("the same", "3:pids:/a\n0::/box\n", "3:pids:/a\n0::/box\n", &[]);
        check("v1", "3:pids:/\n", "3:pids:/a\n", &[("/cg/pids/a", Some("/cg/pids"))]);
        check("ours is out of sight", "0::/\n", "0::/box/c\n", &[("/cg/unified/c", None)]);
        check(
            "every hierarchy, the named one too",
            "4:cpu,cpuacct:/b\n3:pids:/\n1:name=systemd:/x\n0::/box\n",
            "4:cpu,cpuacct:/b\n3:pids:/a:b\n1:name=systemd:/y\n0::/box/c\n",
            &[
                ("/cg/pids/a:b", Some("/cg/pids")),
                ("/cg/systemd/y", Some("/cg/systemd/x")),
                ("/cg/unified/c", Some("/cg/unified")),
            ],
        );
    }

    #[test]
    fn what_cannot_be_reached_is_named() {
        let table: &[(&[u8], &str)] =
            &[(b"7:memory:/a\n", "not mounted here"), (b"0::/boxer\n", "not below")];
        for (theirs, reason) in table {
            let error = format!("{:?}", moves(MOUNTS, b"", theirs).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
