//! The host name: that of the process's UTS namespace.

use crate::answer::Answer;
use crate::entry::enter;
use crate::fact::{Fact, Topic};
use crate::namespaces::Kind;
use crate::process::Process;
use crate::text::printable;

pub fn read(process: &Process) -> Answer<String> {
    let name = || printable(rustix::system::uname().nodename().to_bytes());
    enter(process, Kind::Uts).map(|()| name()).into()
}

pub fn facts(hostname: &Answer<String>) -> Vec<Fact> {
    vec![Fact::of(Topic::Hostname, "", hostname.as_ref(), String::clone)]
}
