//! What differs between two states, and what makes it differ.

use crate::answer::Unknown;
use crate::cause::{self, Cause};
use crate::fact::{Fact, Topic};
use crate::mounts;
use crate::state::State;
use serde::Serialize;
use std::collections::BTreeMap;

/// A fact that is not what it was. Nothing on one side is a fact that came or went.
#[derive(Debug, PartialEq, Serialize)]
pub struct Change {
    pub topic: Topic,
    /// More than one where they changed alike.
    pub names: Vec<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    #[serde(flatten)]
    pub cause: Cause,
}

impl Change {
    pub fn name(&self) -> String {
        self.names.join(" ")
    }
}

/// What differs, and what could not be compared.
#[derive(Debug, Default, Serialize)]
pub struct Difference {
    pub changes: Vec<Change>,
    /// What is not known on one side, by the reason.
    pub unknown: BTreeMap<String, Vec<String>>,
}

type Facts = BTreeMap<(Topic, String), Fact>;

impl Difference {
    pub fn between(before: &State, after: &State) -> Self {
        let mut difference = Self::default();
        let (order, before, after) = (order(before, after), compared(before), compared(after));
        for key in order {
            // A list that is not known as a whole is one fact without a name.
            let whole = (key.0, String::new());
            let find = |facts: &Facts| {
                facts
                    .get(&key)
                    .or_else(|| facts.get(&whole).filter(|fact| fact.value.is_err()))
                    .cloned()
            };
            difference.compare(&key, find(&before), find(&after));
        }
        difference
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are text") + "\n"
    }

    fn compare(&mut self, key: &(Topic, String), before: Option<Fact>, after: Option<Fact>) {
        let (before, after) = match (sides(before), sides(after)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(_), Err(_)) => return,
            (Err((name, unknown)), _) | (_, Err((name, unknown))) => {
                let names = self.unknown.entry(unknown.reason).or_default();
                let name = format!("{} {name}", key.0.title()).trim_end().to_owned();
                names.extend(Some(name).filter(|name| !names.contains(name)));
                return;
            }
        };
        let value = |fact: &Option<Fact>| fact.as_ref().and_then(|fact| fact.value.clone().ok());
        if value(&before) == value(&after) || is_told_by_root(before.as_ref(), after.as_ref()) {
            return;
        }
        let cause = cause::of(before.as_ref(), after.as_ref());
        let [before, after] = shown(before.as_ref(), after.as_ref());
        match self.changes.last_mut() {
            Some(last)
                if (last.topic, &last.before, &last.after) == (key.0, &before, &after)
                    && key.0.is_gathered()
                    && last.cause == cause =>
            {
                last.names.push(key.1.clone());
            }
            _ => {
                let names = vec![key.1.clone()];
                self.changes.push(Change { topic: key.0, names, before, after, cause });
            }
        }
    }
}

/// Another mount on `/` is another root, and is told as such.
fn is_told_by_root(before: Option<&Fact>, after: Option<&Fact>) -> bool {
    let source = |fact: Option<&Fact>| Some(fact?.value.as_ref().ok()?[..2].to_vec());
    let is_root = |fact: &Fact| fact.topic == Topic::Mount && fact.name == "/";
    before.or(after).is_some_and(is_root) && source(before) != source(after)
}

/// What is known of one side, which may be that there is nothing.
fn sides(fact: Option<Fact>) -> Result<Option<Fact>, (String, Unknown)> {
    match fact {
        Some(Fact { name, value: Err(unknown), .. }) => Err((name, unknown)),
        fact => Ok(fact),
    }
}

fn compared(state: &State) -> Facts {
    let facts = state.facts().into_iter().filter(Fact::is_compared);
    facts.map(|fact| ((fact.topic, fact.name.clone()), fact)).collect()
}

/// Topic by topic, first what is there now, then what is there no more.
fn order(before: &State, after: &State) -> Vec<(Topic, String)> {
    let mut keys: Vec<(Topic, String)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for fact in after.facts().into_iter().chain(before.facts()) {
        let key = (fact.topic, fact.name);
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|(topic, _)| *topic);
    keys
}

/// The two values, as short as tells them apart.
fn shown(before: Option<&Fact>, after: Option<&Fact>) -> [Option<String>; 2] {
    if let (Some(before), Some(after)) = (before, after)
        && before.topic == Topic::Mount
        && let (Ok(old), Ok(new)) = (&before.value, &after.value)
    {
        return mounts::changed(old, new).map(Some);
    }
    [before, after].map(|fact| fact.map(Fact::compared))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answer;
    use crate::mounts::Mount;

    fn mount(point: &str, source: &str) -> Mount {
        let text = str::to_owned;
        let (root, options, propagation) = (text("/"), text("rw"), text("private"));
        let (point, source, filesystem) = (text(point), text(source), text("tmpfs"));
        Mount { point, filesystem, source, root, flags: vec![text("rw")], options, propagation }
    }

    /// Each change in one text.
    fn told(before: &State, after: &State) -> Vec<String> {
        let difference = Difference::between(before, after);
        let side = |text: &Option<String>| text.clone().unwrap_or("nothing".to_owned());
        let line = |change: &Change| {
            let (topic, name) = (change.topic.title(), change.name());
            format!("{topic} {name}: {} -> {}", side(&change.before), side(&change.after))
        };
        difference.changes.iter().map(line).collect()
    }

    #[test]
    fn facts_come_go_and_change() {
        let mut before = State { hostname: Answer::Known("vm".to_owned()), ..State::default() };
        let mut after = State { hostname: Answer::Known("box".to_owned()), ..State::default() };
        before.mounts = Answer::Known(vec![mount("/", "a"), mount("/x", "x"), mount("/y", "y")]);
        after.mounts = Answer::Known(vec![mount("/", "b"), mount("/y", "y"), mount("/y", "z")]);
        let expected = [
            "hostname : vm -> box",
            "mount /y #2: nothing -> tmpfs z rw",
            "mount /x: tmpfs x rw -> nothing",
        ];
        assert_eq!(told(&before, &after), expected);
        assert_eq!(told(&after, &after), [""; 0]);
    }

    #[test]
    fn sets_that_changed_alike_are_one_line() {
        let mut states = [State::default(), State::default()];
        for (state, names) in states.iter_mut().zip([vec!["CHOWN".to_owned()], Vec::new()]) {
            state.capabilities.effective = Answer::Known(names.clone());
            state.capabilities.permitted = Answer::Known(names);
        }
        let [before, after] = &states;
        assert_eq!(told(before, after), ["capabilities effective permitted: CHOWN -> none"]);
    }

    #[test]
    fn what_is_not_known_on_one_side_is_not_compared() {
        let mut before = State { hostname: Answer::Known("vm".to_owned()), ..State::default() };
        before.mounts = Answer::Known(vec![mount("/", "a"), mount("/x", "x")]);
        let difference = Difference::between(&before, &State::default());
        assert_eq!(difference.changes, []);
        let names = ["hostname", "mount"].map(str::to_owned).to_vec();
        assert_eq!(difference.unknown, BTreeMap::from([("not asked".to_owned(), names)]));
        let nothing = Difference::between(&State::default(), &State::default());
        assert!(nothing.unknown.is_empty(), "what is known on neither side says nothing");
    }
}
