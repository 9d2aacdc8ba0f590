//! Which capabilities PROG may have. `capabilities(7)`.
//!
//! A process has five sets of them. The bounding set is what a program may ever gain by being
//! executed; permitted and effective are what the process has; inheritable and ambient are what it
//! takes through an exec where it is not root.

use crate::capability::{DEFAULT, named};
use pk::{Error, Result, Steps};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::str::FromStr;

/// `default|none|all[,+NAME|,-NAME]...`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    wanted: CapabilitySet,
    /// Named with `+`: it is an error not to have them.
    needed: CapabilitySet,
}

/// `NAME,...`, or all that are left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Names(CapabilitySet);

/// What the sets of PROG will be.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    choice: Option<Choice>,
    ambient: Option<CapabilitySet>,
    /// The bounding set as it was found.
    bounding: CapabilitySet,
}

/// The names, for who asks what there is.
pub fn names() -> Vec<&'static str> {
    CapabilitySet::all().iter_names().map(|(name, _)| name).collect()
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let wanted = match parts.next().unwrap_or_default() {
            "default" => DEFAULT,
            "none" => CapabilitySet::empty(),
            "all" => CapabilitySet::all(),
            _ => return Err("does not begin with default, none or all".to_owned()),
        };
        let mut choice = Self { wanted, needed: CapabilitySet::empty() };
        for part in parts {
            let named = |name: &str| named(name).ok_or(format!("{name:?} is no capability"));
            if let Some(name) = part.strip_prefix('+') {
                choice.wanted |= named(name)?;
                choice.needed |= named(name)?;
            } else if let Some(name) = part.strip_prefix('-') {
                choice.wanted -= named(name)?;
                choice.needed -= named(name)?;
            } else {
                return Err(format!("{part:?} is neither +NAME nor -NAME"));
            }
        }
        Ok(choice)
    }
}

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |name: &str| named(name).ok_or(format!("{name:?} is no capability"));
        Ok(Self(
            text.split(',')
                .map(one)
                .try_fold(CapabilitySet::empty(), |all, one| Ok::<_, String>(all | one?))?,
        ))
    }
}

impl Choice {
    /// What `--standard` leaves a container.
    pub fn standard() -> Self {
        Self { wanted: DEFAULT, needed: CapabilitySet::empty() }
    }
}

impl Capabilities {
    pub fn settle(choice: Option<Choice>, ambient: Option<Names>) -> Result<Self> {
        let ambient = ambient.map(|Names(set)| set);
        if let (Some(choice), Some(ambient)) = (choice, ambient)
            && !choice.wanted.contains(ambient)
        {
            let missing = list(ambient - choice.wanted, ",");
            return Err(Error::usage("--ambient", format!("--caps does not leave {missing}")));
        }
        Ok(Self { choice, ambient, bounding: bounding() })
    }

    /// Whether something is left to do that needs capabilities.
    pub fn change(&self) -> bool {
        self.choice.is_some() || self.ambient.is_some()
    }

    /// The bounding set that PROG will have.
    pub fn bounding(&self) -> CapabilitySet {
        self.choice.map_or(self.bounding, |choice| self.bounding & choice.wanted)
    }

    /// Options of `setpriv(1)` for a step in between, after which there is one that needs
    /// `needed`: this process keeps all capabilities until the last step, but what a shell executes
    /// has only ambient ones.
    pub fn kept(&self, needed: CapabilitySet) -> String {
        setpriv(self.ambient.unwrap_or(CapabilitySet::empty()) | needed)
    }

    /// The same for the last step that needs any. As nothing executed has what is not in the
    /// bounding set, this is where a shell can drop from it.
    pub fn bounded(&self) -> String {
        let kept = self.kept(CapabilitySet::empty());
        self.bounding_option().map_or(kept.clone(), |bounding| format!("{bounding} {kept}"))
    }

    /// Options of `capsh(1)` for the same.
    pub fn dropped(&self) -> String {
        let names = list(self.bounding - self.bounding(), ",").to_ascii_lowercase();
        self.bounding_option().map_or(String::new(), |_| format!("--drop={names} "))
    }

    fn bounding_option(&self) -> Option<String> {
        let kept = self.bounding();
        (kept != self.bounding).then(|| format!("--bounding-set=-all{}", switches(kept)))
    }

    /// The bounding set first: dropping from it needs `CAP_SETPCAP`, which a change of user and the
    /// other sets may take away.
    pub fn add_bounding_step(&self, is_needed_later: bool, steps: &mut Steps) {
        let Some(choice) = self.choice else { return };
        let dropped = self.bounding - choice.wanted;
        let Some(option) = self.bounding_option() else { return };
        let shell = if is_needed_later {
            ": # the next setpriv does it, because it needs what this takes".to_owned()
        } else {
            format!("exec setpriv {option} sh")
        };
        steps.add(
            "no program gives back what is not in the bounding set, setuid or not",
            format!("prctl(PR_CAPBSET_DROP, {})", list(dropped, "|")),
            shell,
            move |()| {
                let mut each = dropped.iter();
                each.try_for_each(thread::remove_capability_from_bounding_set)
                    .map_err(|errno| Error::from(errno).hint(no_setpcap()))
            },
        );
    }

    /// The other four sets, last: what went before may have needed them.
    pub fn add_step(&self, steps: &mut Steps) {
        if !self.change() {
            return;
        }
        let Self { choice, .. } = *self;
        let ambient = self.ambient.unwrap_or(CapabilitySet::empty());
        let all = CapabilitySet::all();
        let wanted = choice.map_or(all, |choice| choice.wanted) & self.bounding;
        let needed = choice.map_or(CapabilitySet::empty(), |choice| choice.needed) | ambient;
        let raise =
            ambient.iter_names().map(|(name, _)| format!("PR_CAP_AMBIENT_RAISE, CAP_{name}"));
        let ambient_calls: Vec<String> = ["PR_CAP_AMBIENT_CLEAR_ALL".to_owned()]
            .into_iter()
            .chain(raise)
            .map(|what| format!("prctl(PR_CAP_AMBIENT, {what})"))
            .collect();
        let call = format!(
            "capset({{effective = permitted = {}, inheritable = {}}}), {}",
            list(wanted, "|"),
            list(ambient, "|"),
            ambient_calls.join(", ")
        );
        let shell = format!("exec setpriv {} sh", setpriv(ambient));
        steps.add(
            "what is left to this process and, through ambient, to who is not root",
            call,
            shell,
            move |()| set(wanted, needed, ambient),
        );
    }
}

fn set(wanted: CapabilitySet, needed: CapabilitySet, ambient: CapabilitySet) -> Result<()> {
    let now = thread::capabilities(None)?;
    let missing = needed - now.permitted;
    if !missing.is_empty() {
        return Err(Error::new(
            "capset",
            format!("this process does not have {}", list(missing, ", ")),
        ));
    }
    let left = wanted & now.permitted;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: ambient };
    thread::set_capabilities(None, sets)?;
    thread::clear_ambient_capability_set()?;
    ambient.iter().try_for_each(|one| thread::configure_capability_in_ambient_set(one, true))?;
    Ok(())
}

/// Raises what a change of user to other than 0 left permitted but made ineffective.
pub fn make_effective() -> rustix::io::Result<()> {
    let now = thread::capabilities(None)?;
    thread::set_capabilities(None, CapabilitySets { effective: now.permitted, ..now })
}

/// Whether a capability can be used now.
pub fn is_effective(capability: CapabilitySet) -> bool {
    thread::capabilities(None).is_ok_and(|now| now.effective.contains(capability))
}

/// The way out for who may not change what only `CAP_SETPCAP` may.
pub fn no_setpcap() -> Option<String> {
    (!is_effective(CapabilitySet::SETPCAP)).then(|| {
        "this needs CAP_SETPCAP, which this process does not have: put pk-ns --user --map-root in front".to_owned()
    })
}

/// The kernel's answer for a capability that it does not know is EINVAL.
fn bounding() -> CapabilitySet {
    let has = |&one: &CapabilitySet| thread::capability_is_in_bounding_set(one) == Ok(true);
    CapabilitySet::all().iter().filter(has).collect()
}

/// Names for a call's text.
fn list(set: CapabilitySet, separator: &str) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    if names.is_empty() { "0".to_owned() } else { names.join(separator) }
}

/// Options of `setpriv(1)`, with which a program has `set` even if it is not root.
fn setpriv(set: CapabilitySet) -> String {
    let switches = switches(set);
    format!("--inh-caps=-all{switches} --ambient-caps=-all{switches}")
}

/// As setpriv takes them, after others.
fn switches(set: CapabilitySet) -> String {
    let lower = |(name, _): (&str, _)| name.to_ascii_lowercase();
    let names: Vec<String> = set.iter_names().map(lower).collect();
    if names.is_empty() { String::new() } else { format!(",+{}", names.join(",+")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_begins_with_a_word_and_goes_on_with_changes() {
        let none = CapabilitySet::empty();
        let (chown, admin) = (CapabilitySet::CHOWN, CapabilitySet::NET_ADMIN);
        let table = [
            ("none", none, none),
            ("default", DEFAULT, none),
            ("none,+NET_ADMIN", admin, admin),
            ("none,+cap_net_admin", admin, admin),
            ("default,+NET_ADMIN,-CHOWN", (DEFAULT | admin) - chown, admin),
            ("none,+CHOWN,-CHOWN", none, none),
            ("none,-CHOWN,+CHOWN", chown, chown),
            ("all,-CHOWN", CapabilitySet::all() - chown, none),
        ];
        for (text, wanted, needed) in table {
            assert_eq!(text.parse(), Ok(Choice { wanted, needed }), "{text}");
        }
        assert_eq!(DEFAULT.iter().count(), 13);
        for wrong in [
            "",
            "+CHOWN",
            "CHOWN",
            "none,CHOWN",
            "none,+",
            "none,+NO_SUCH",
            "none,",
            "default,none",
            "None",
        ] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_a_list() {
        let both = CapabilitySet::CHOWN | CapabilitySet::KILL;
        assert_eq!("CHOWN,cap_kill".parse(), Ok(Names(both)));
        for wrong in ["", "CHOWN,", "all", "+CHOWN"] {
            assert!(wrong.parse::<Names>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ambient_ones_have_to_be_left() {
        let settle = |choice: &str| {
            Capabilities::settle(Some(choice.parse().unwrap()), Some("CHOWN".parse().unwrap()))
        };
        assert!(settle("none,+CHOWN").is_ok());
        assert!(settle("none").is_err());
    }
}
