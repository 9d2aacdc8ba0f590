//! What differs between two states, and what makes it differ.

use crate::answer::Unknown;
use crate::cause::{self, Cause};
use crate::fact::{Fact, Topic};
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
        if value(&before) == value(&after) {
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

/// The two values, without the columns in which they do not differ if there are more.
fn shown(before: Option<&Fact>, after: Option<&Fact>) -> [Option<String>; 2] {
    let columns = |fact: Option<&Fact>| fact.and_then(|fact| fact.value.clone().ok());
    let all = |fact: Option<&Fact>| fact.map(Fact::compared);
    match (columns(before), columns(after)) {
        (Some(old), Some(new)) if old.len() == new.len() && old.len() > 1 => {
            let differs: Vec<bool> = old.iter().zip(&new).map(|(old, new)| old != new).collect();
            let pick = |columns: Vec<String>| {
                let picked = columns.into_iter().zip(&differs).filter(|(_, differs)| **differs);
                let words: Vec<String> =
                    picked.map(|(column, _)| column).filter(|column| !column.is_empty()).collect();
                Some(if words.is_empty() { "nothing".to_owned() } else { words.join("  ") })
            };
            [pick(old), pick(new)]
        }
        _ => [all(before), all(after)],
    }
}
