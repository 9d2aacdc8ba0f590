//! The compiled program, run by a small interpreter, against what the profile says.

use super::*;
use crate::abi::{AARCH64, ARM, X86};
use crate::condition::Comparison;
use crate::profile::{Circumstances, Rule};
use proptest::prelude::*;
use rustix::thread::CapabilitySet;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
struct Call {
    audit: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            NUMBER => self.number,
            AUDIT_ARCH => self.audit,
            _ => {
                let argument = self.arguments[usize::try_from((offset - 16) / 8).unwrap()];
                let half =
                    if offset.is_multiple_of(8) { argument & 0xffff_ffff } else { argument >> 32 };
                u32::try_from(half).unwrap()
            }
        }
    }
}

/// What a program returns for a call. The kernel's own checks are made on the way: jumps stay
/// inside, and every way ends in a return.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_LD, BPF_RET,
        BPF_W,
    };
    const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
    const AND: u32 = BPF_ALU | BPF_AND;
    const ALWAYS: u32 = BPF_JMP | BPF_JA;
    const EQUAL: u32 = BPF_JMP | BPF_JEQ;
    const GREATER: u32 = BPF_JMP | BPF_JGT;
    const GREATER_OR_EQUAL: u32 = BPF_JMP | BPF_JGE;
    let (mut at, mut word) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        let jump = |holds| usize::from(if holds { jt } else { jf });
        at += 1;
        match u32::from(code) {
            LOAD => word = call.word(k),
            AND => word &= k,
            ALWAYS => at += usize::try_from(k).unwrap(),
            EQUAL => at += jump(word == k),
            GREATER => at += jump(word > k),
            GREATER_OR_EQUAL => at += jump(word >= k),
            BPF_RET => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn holds(condition: &Condition, arguments: &[u64; 6]) -> bool {
    let argument = arguments[usize::try_from(condition.argument).unwrap()];
    match condition.comparison {
        Comparison::NotEqual => argument != condition.value,
        Comparison::Less => argument < condition.value,
        Comparison::LessOrEqual => argument <= condition.value,
        Comparison::Equal => argument == condition.value,
        Comparison::GreaterOrEqual => argument >= condition.value,
        Comparison::Greater => argument > condition.value,
        Comparison::MaskedEqual(mask) => argument & mask == condition.value & mask,
    }
}

/// What a profile means, read rule by rule, for x86-64 and i386 without multiplexed calls.
fn meaning(profile: &Profile, call: &Call) -> u32 {
    let abis = [&X86_64, &X86];
    let Some(abi) = abis.into_iter().find(|abi| abi.audit == call.audit) else { return KILL };
    let is_listed = profile.abis.iter().any(|other| other.name == abi.name);
    if !is_listed && abi.name != X86_64.name {
        return KILL;
    }
    if abi.name == X86_64.name && call.number & X32_BIT != 0 {
        return if call.number == u32::MAX { profile.default.code() } else { KILL };
    }
    let numbers = (abi.numbers)();
    let names = profile.rules.iter().flat_map(|rule| &rule.names);
    let number_of = |name: &String| numbers.iter().find(|row| row.1 == name).map(|row| row.0);
    let newest = names.filter_map(number_of).max().unwrap_or(0);
    if is_listed && profile.newer_are_missing && newest > 0 && call.number > newest {
        return Action::Errno(38).code();
    }
    let name = numbers.iter().find(|row| row.0 == call.number).map_or("", |row| row.1);
    let narrow = |argument: u64| if abi.wide { argument } else { argument & 0xffff_ffff };
    let arguments = call.arguments.map(narrow);
    let about = |rule: &&Rule| {
        rule.action != profile.default && rule.names.iter().any(|other| other == name)
    };
    let mut rules: Vec<(Vec<Condition>, Action)> = profile
        .rules
        .iter()
        .filter(about)
        .map(|rule| {
            let mut conditions: Vec<Condition> =
                rule.conditions.iter().filter_map(|one| one.on(abi)).collect();
            conditions.sort_by_key(|one| one.argument);
            (conditions, rule.action)
        })
        .collect();
    if let Some(rule) = rules.iter().find(|rule| rule.0.is_empty()) {
        return rule.1.code();
    }
    rules.sort_by_key(|rule| rule.0.iter().map(Condition::rank).collect::<Vec<_>>());
    let all_hold =
        |rule: &&(Vec<Condition>, Action)| rule.0.iter().all(|one| holds(one, &arguments));
    rules.iter().find(all_hold).map_or(profile.default, |rule| rule.1).code()
}

/// Values at which comparisons change their mind.
fn value() -> impl Strategy<Value = u64> {
    let near = prop_oneof![
        Just(0_u64),
        Just(5),
        Just(1 << 31),
        Just(1 << 32),
        Just(5 << 32),
        Just(u64::MAX)
    ];
    (near, -2_i64..=2).prop_map(|(value, step)| value.wrapping_add_signed(step))
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Equal),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Greater),
        value().prop_map(Comparison::MaskedEqual),
    ];
    (0_u32..3, comparison, value()).prop_map(|(argument, comparison, value)| {
        let value = match comparison {
            Comparison::MaskedEqual(mask) => value & mask,
            _ => value,
        };
        Condition { argument, comparison, value }
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::KillProcess),
        Just(Action::KillThread),
        Just(Action::Trap),
        Just(Action::Log),
        Just(Action::Allow),
        (0_u16..4).prop_map(Action::Errno),
        (0_u16..2).prop_map(Action::Trace),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let names =
        prop::sample::subsequence(vec!["read", "getuid", "getgid", "openat2", "none"], 1..4);
    (names, action(), prop::collection::vec(condition(), 0..4)).prop_map(
        |(names, action, conditions)| Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            conditions,
        },
    )
}

fn profile() -> impl Strategy<Value = Profile> {
    let rules = prop::collection::vec(rule(), 0..6);
    let abis = prop::sample::subsequence(vec![&X86_64, &X86], 0..=2);
    (action(), any::<bool>(), abis, rules).prop_map(|(default, newer_are_missing, abis, rules)| {
        Profile { default, newer_are_missing, abis, rules, flags: 0 }
    })
}

fn call() -> impl Strategy<Value = Call> {
    let numbers = vec![
        0,
        1,
        3,
        4,
        24,
        47,
        102,
        104,
        199,
        437,
        438,
        500,
        X32_BIT,
        X32_BIT + 102,
        u32::MAX - 1,
        u32::MAX,
    ];
    let audits = vec![X86_64.audit, X86_64.audit, X86.audit, 0xc000_00b7];
    let arguments = prop::array::uniform6(value());
    (prop::sample::select(audits), prop::sample::select(numbers), arguments)
        // socketcall has a test of its own.
        .prop_filter("multiplexed", |(audit, number, _)| *audit != X86.audit || *number != 102)
        .prop_map(|(audit, number, arguments)| Call { audit, number, arguments })
}

proptest! {
    #[test]
    #[cfg_attr(not(target_arch = "x86_64"), ignore = "of x86-64's numbers")]
    fn a_program_does_what_its_profile_says(profile in profile(), calls in prop::collection::vec(call(), 64)) {
        let program = compile(&profile);
        for call in &calls {
            prop_assert_eq!(run(&program, call), meaning(&profile, call), "{:x?}", call);
        }
    }
}

fn parse(text: &str) -> Profile {
    let here = Circumstances { capabilities: CapabilitySet::empty(), kernel: (6, 1) };
    Profile::parse(text, &here).unwrap()
}

fn default_profile() -> Profile {
    parse(include_str!("../default.json"))
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "of x86-64's numbers")]
fn the_default_profile_refuses_to_type_into_a_terminal() {
    let program = compile(&default_profile());
    let refused = Action::Errno(1).code();
    for (request, expected) in [
        (0x5412, refused),
        (0x541c, refused),
        // The kernel takes the lower half only.
        (0x1_0000_5412, refused),
        (0xffff_ffff_0000_541c, refused),
        (0x5413, ALLOW),
        (0x5411, ALLOW),
        (0, ALLOW),
        (u64::MAX, ALLOW),
    ] {
        let arguments = [0, request, 0, 0, 0, 0];
        for (audit, number) in [(X86_64.audit, 16), (X86.audit, 54)] {
            let call = Call { audit, number, arguments };
            assert_eq!(run(&program, &call), expected, "{call:x?}");
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "of x86-64's numbers")]
fn the_default_profile_ends_who_calls_by_x32() {
    let program = compile(&default_profile());
    for number in [X32_BIT, X32_BIT + 514, 2 * X32_BIT - 1, 3 * X32_BIT] {
        let call = Call { audit: X86_64.audit, number, arguments: [0; 6] };
        assert_eq!(run(&program, &call), KILL, "{call:x?}");
    }
}

#[test]
fn the_default_profile_says_something_of_every_call() {
    let text: serde_json::Value = serde_json::from_str(include_str!("../default.json")).unwrap();
    let rules = text["syscalls"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["comment"].as_str().is_some_and(|text| !text.is_empty())));
    let names = rules.iter().flat_map(|rule| rule["names"].as_array().unwrap());
    let names: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    for abi in [&X86_64, &X86, &AARCH64, &ARM] {
        for (_, name) in (abi.numbers)() {
            assert!(names.contains(&name), "{name} of {}", abi.name);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "of x86-64's numbers")]
fn a_call_that_stands_for_others_follows_their_rules() {
    let profile = parse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            {"names": ["bind"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9},
            {"names": ["shmat"], "action": "SCMP_ACT_KILL"}]}"#,
    );
    let program = compile(&profile);
    let table =
        [(102, 1, ALLOW), (102, 2, Action::Errno(9).code()), (117, 21, KILL), (117, 22, ALLOW)];
    for (number, meaning, expected) in table {
        let call = Call { audit: X86.audit, number, arguments: [meaning, 0, 0, 0, 0, 0] };
        assert_eq!(run(&program, &call), expected, "{call:x?}");
    }
}

/// Jumps have eight bits; a rule of many values, and many rules, need more.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "of x86-64's numbers")]
fn a_long_program_reaches_its_end() {
    let rule = |value| Rule {
        names: vec!["getuid".to_owned()],
        action: Action::Errno(u16::try_from(value).unwrap()),
        conditions: vec![Condition::equal(0, value)],
    };
    let every_other =
        (X86_64.numbers)().into_iter().filter(|row| row.0 % 2 == 1).map(|row| row.1.to_owned());
    let refused =
        Rule { names: every_other.collect(), action: Action::Trap, conditions: Vec::new() };
    let rules = (1..=400).map(rule).chain([refused]).collect();
    let profile = Profile {
        default: Action::Allow,
        newer_are_missing: false,
        abis: vec![&X86_64],
        rules,
        flags: 0,
    };
    let program = compile(&profile);
    assert!((1000..4096).contains(&program.len()), "{}", program.len());
    for value in 1..=400 {
        let call = Call { audit: X86_64.audit, number: 102, arguments: [value, 0, 0, 0, 0, 0] };
        assert_eq!(run(&program, &call), Action::Errno(u16::try_from(value).unwrap()).code());
    }
    for (number, _) in (X86_64.numbers)() {
        let call = Call { audit: X86_64.audit, number, arguments: [0; 6] };
        assert_eq!(run(&program, &call), meaning(&profile, &call), "{number}");
    }
}
