//! From a profile to a filter, with the meaning that libseccomp and runc give to a profile.
//!
//! seccompiler knows one action beside the default one and one ABI a filter, and kills what comes by
//! another; libseccomp is a C library that takes milliseconds. So the program is written here: for
//! each ABI a binary search over the ranges of numbers that are treated alike.

use crate::abi::{Abi, Multiplexer, OF_THIS_MACHINE, X32, X32_BIT, X86_64};
use crate::condition::Condition;
use crate::profile::{Action, Profile};
use crate::program::{Label, Program, Test};
use libc::sock_filter;
use nix::errno::Errno;
use rustc_hash::FxHashMap;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const AUDIT_ARCH: u32 = 4;

/// What a call by an ABI that a profile does not name gets, from libseccomp.
const FOREIGN: Action = Action::KillThread;

/// What is done about the calls of a number.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Always(Action),
    /// The first of these whose conditions hold, else the default.
    Rules(Vec<(Vec<Condition>, Action)>),
}

/// Numbers from the first one on, up to where the next range begins.
struct Range {
    first: u32,
    verdict: Verdict,
    abi: &'static Abi,
}

/// The rules of each name, as indices into the profile's. The usual hash, which is safe from names
/// that were made to collide, took half of the time.
type RulesByName<'a> = FxHashMap<&'a str, Vec<usize>>;

/// Compiles a profile.
pub fn compile(profile: &Profile) -> Vec<sock_filter> {
    let native = OF_THIS_MACHINE[0];
    let mut by_name = RulesByName::default();
    for (index, rule) in profile.rules.iter().enumerate() {
        for name in &rule.names {
            by_name.entry(name).or_default().push(index);
        }
    }
    let mut program = Program::default();
    let mut next = program.end_with(FOREIGN.code());
    let others = profile.abis.iter().copied().filter(|abi| abi.audit != native.audit);
    for abi in others.chain([native]) {
        let ranges = match abi.audit {
            audit if audit == X86_64.audit => x86_64_ranges(profile, &by_name),
            _ => ranges(profile, &by_name, abi),
        };
        write_search(&mut program, profile.default, &ranges);
        let search = program.load(NUMBER);
        next = program.branch(Test::Equal, abi.audit, search, next);
    }
    program.load(AUDIT_ARCH);
    program.instructions()
}

/// Two ABIs that share the kernel's word for them: x32 has a bit of its own in its numbers.
fn x86_64_ranges(profile: &Profile, by_name: &RulesByName) -> Vec<Range> {
    let native = ranges(profile, by_name, &X86_64);
    let beyond = native.last().map(|range| range.verdict.clone());
    let default = Verdict::Always(profile.default);
    let beyond = beyond.unwrap_or(default.clone());
    let foreign = Verdict::Always(FOREIGN);
    let abi = &X86_64;
    let mut all = native;
    if let Some(x32) = profile.abis.iter().copied().find(|other| other.name == X32.name) {
        let x32_ranges = ranges(profile, by_name, x32);
        let beyond_x32 = x32_ranges.last().map(|range| range.verdict.clone());
        all.extend(x32_ranges);
        all.push(Range { first: 2 * X32_BIT, verdict: beyond, abi });
        all.push(Range { first: 3 * X32_BIT, verdict: beyond_x32.unwrap_or(default), abi });
        return all;
    }
    all.push(Range { first: X32_BIT, verdict: foreign.clone(), abi });
    if newest_named(profile, by_name, abi).is_some() {
        all.push(Range { first: 2 * X32_BIT, verdict: beyond, abi });
        all.push(Range { first: 3 * X32_BIT, verdict: foreign, abi });
    }
    // A tracer sets the number to -1 to have a call skipped: no call, and not x32's.
    all.push(Range { first: u32::MAX, verdict: default, abi });
    all
}

/// All numbers of an ABI, in ranges that are treated alike.
fn ranges(profile: &Profile, by_name: &RulesByName, abi: &'static Abi) -> Vec<Range> {
    let default = Verdict::Always(profile.default);
    let first = if abi.name == X32.name { X32_BIT } else { 0 };
    let mut ranges = vec![Range { first, verdict: default.clone(), abi }];
    let mut add = |first: u32, verdict: Verdict| {
        let last = ranges.last_mut().expect("there is a first one");
        if last.first == first {
            last.verdict = verdict;
        } else if last.verdict != verdict {
            ranges.push(Range { first, verdict, abi });
        }
    };
    let mut next = first;
    for (number, name) in (abi.numbers)() {
        if number > next {
            add(next, default.clone());
        }
        let own = by_name.get(name).map_or(&[][..], Vec::as_slice);
        add(number, verdict(profile, by_name, abi, name, own));
        next = number + 1;
    }
    add(next, default.clone());
    if let Some(newest) = newest_named(profile, by_name, abi) {
        ranges.retain(|range| range.first <= newest);
        let verdict = Verdict::Always(Action::Errno(Errno::ENOSYS as u16));
        ranges.push(Range { first: newest + 1, verdict, abi });
    }
    ranges
}

/// The newest call of an ABI that the profile names, if those beyond it are missing: calls that
/// came with newer kernels are told from those that the profile leaves out.
fn newest_named(profile: &Profile, by_name: &RulesByName, abi: &Abi) -> Option<u32> {
    if !profile.newer_are_missing || !profile.abis.iter().any(|other| other.name == abi.name) {
        return None;
    }
    let mut numbers = (abi.numbers)().into_iter().rev();
    let (newest, _) = numbers.find(|(_, name)| by_name.contains_key(name))?;
    (newest > 0).then_some(newest)
}

/// A rule without a condition decides, and of several the first one. `own` are those that name the
/// call.
fn verdict(
    profile: &Profile,
    by_name: &RulesByName,
    abi: &Abi,
    name: &str,
    own: &[usize],
) -> Verdict {
    let multiplexer = abi.multiplexed.iter().find(|one| one.name == name);
    // Nearly all calls have one rule without a condition, or none.
    match (own, multiplexer) {
        ([], None) => return Verdict::Always(profile.default),
        (&[index], None) if profile.rules[index].conditions.is_empty() => {
            return Verdict::Always(profile.rules[index].action);
        }
        _ => {}
    }
    let mut rules = rules_of(profile, by_name, abi, own, multiplexer);
    if let Some((_, action)) = rules.iter().find(|(conditions, _)| conditions.is_empty()) {
        return Verdict::Always(*action);
    }
    if rules.is_empty() {
        return Verdict::Always(profile.default);
    }
    rules.sort_by_cached_key(|(conditions, _)| {
        conditions.iter().map(Condition::rank).collect::<Vec<_>>()
    });
    Verdict::Rules(rules)
}

/// The rules that concern a call, in the profile's order, with their conditions on it.
fn rules_of(
    profile: &Profile,
    by_name: &RulesByName,
    abi: &Abi,
    own: &[usize],
    multiplexer: Option<&Multiplexer>,
) -> Vec<(Vec<Condition>, Action)> {
    let mut indices: Vec<(usize, Option<u32>)> = own.iter().map(|&index| (index, None)).collect();
    for &(meaning, call) in multiplexer.map_or(&[][..], |one| one.calls) {
        let rules = by_name.get(call).into_iter().flatten();
        indices.extend(rules.map(|&index| (index, Some(meaning))));
    }
    indices.sort_unstable();
    // An action that is the default's says nothing.
    indices.retain(|&(index, _)| profile.rules[index].action != profile.default);
    let settled = |(index, meaning): (usize, Option<u32>)| {
        let rule = &profile.rules[index];
        // libseccomp keeps the other conditions, although they lie in memory then.
        let mut conditions: Vec<Condition> = match meaning {
            None => rule.conditions.clone(),
            Some(meaning) => [Condition::equal(0, meaning.into())]
                .into_iter()
                .chain(rule.conditions.iter().copied().filter(|one| one.argument != 0))
                .collect(),
        };
        conditions.sort_by_key(|one| one.argument);
        let conditions = conditions.into_iter().filter_map(|one| one.on(abi)).collect();
        (conditions, rule.action)
    };
    indices.into_iter().map(settled).collect()
}

/// A binary search for the number that was loaded.
fn write_search(program: &mut Program, default: Action, ranges: &[Range]) -> Label {
    match ranges {
        [] => program.end_with(default.code()),
        [range] => match &range.verdict {
            Verdict::Always(action) => program.end_with(action.code()),
            Verdict::Rules(rules) => write_rules(program, default, rules, range.abi),
        },
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let upper_half = write_search(program, default, upper);
            let lower_half = write_search(program, default, lower);
            program.branch(Test::GreaterOrEqual, upper[0].first, upper_half, lower_half)
        }
    }
}

fn write_rules(
    program: &mut Program,
    default: Action,
    rules: &[(Vec<Condition>, Action)],
    abi: &Abi,
) -> Label {
    let mut next = program.end_with(default.code());
    for (conditions, action) in rules.iter().rev() {
        let mut holds = program.end_with(action.code());
        for condition in conditions.iter().rev() {
            holds = condition.write(program, abi, holds, next);
        }
        next = holds;
    }
    next
}

#[cfg(test)]
#[path = "filter/tests.rs"]
mod tests;
