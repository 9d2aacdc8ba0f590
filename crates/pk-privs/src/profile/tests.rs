use super::*;

fn here() -> Circumstances {
    Circumstances { capabilities: CapabilitySet::CHOWN | CapabilitySet::KILL, kernel: (6, 1) }
}

fn parse(text: &str) -> Result<Profile, String> {
    Profile::parse(text, &here())
}

/// Whether a rule with this in it is left.
fn applies(circumstances: &str) -> bool {
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls":
            [{{"names": ["read"], "action": "SCMP_ACT_ALLOW", {circumstances}}}]}}"#
    );
    !parse(&text).unwrap().rules.is_empty()
}

#[test]
fn conditions_are_settled() {
    let table = [
        (r#""includes": {}, "excludes": {}"#, true),
        (r#""includes": null"#, true),
        (r#""includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}"#, true),
        (r#""includes": {"caps": ["CAP_CHOWN", "CAP_BPF"]}"#, false),
        (r#""includes": {"caps": ["CAP_NO_SUCH"]}"#, false),
        (r#""excludes": {"caps": ["CAP_BPF", "CAP_CHOWN"]}"#, false),
        (r#""excludes": {"caps": ["CAP_BPF"]}"#, true),
        (r#""includes": {"minKernel": "4.8"}"#, true),
        (r#""includes": {"minKernel": "6.1"}"#, true),
        (r#""includes": {"minKernel": "6.10"}"#, false),
        (r#""excludes": {"minKernel": "5.0"}"#, false),
        (r#""includes": {"arches": ["s390x"]}"#, false),
        (r#""includes": {"arches": ["s390x", "amd64", "arm64"]}"#, true),
        (r#""excludes": {"arches": ["amd64", "arm64"]}"#, false),
        (r#""includes": {"caps": ["CAP_CHOWN"]}, "excludes": {"minKernel": "5.0"}"#, false),
    ];
    for (circumstances, expected) in table {
        assert_eq!(applies(circumstances), expected, "{circumstances}");
    }
}

#[test]
fn an_error_is_named_or_numbered() {
    let action = |text: &str| {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"name": "read", "action": {text}}}]}}"#
        );
        parse(&text).unwrap().rules[0].action
    };
    assert_eq!(action(r#""SCMP_ACT_ERRNO""#), Action::Errno(1));
    assert_eq!(action(r#""SCMP_ACT_ERRNO", "errnoRet": 38"#), Action::Errno(38));
    assert_eq!(action(r#""SCMP_ACT_ERRNO", "errnoRet": 38, "errno": "EPERM""#), Action::Errno(1));
    assert_eq!(action(r#""SCMP_ACT_ERRNO", "errno": "ENOTSUP""#), Action::Errno(95));
    assert_eq!(action(r#""SCMP_ACT_TRACE", "errnoRet": 7"#), Action::Trace(7));
    assert_eq!(action(r#""SCMP_ACT_KILL""#), Action::KillThread);
}

/// runc's rule for calls that are newer than a profile.
#[test]
fn newer_calls_are_missing_where_the_default_refuses() {
    let table = [
        (r#""SCMP_ACT_ERRNO""#, true),
        (r#""SCMP_ACT_ERRNO", "defaultErrnoRet": 1"#, true),
        (r#""SCMP_ACT_ERRNO", "defaultErrnoRet": 38"#, true),
        (r#""SCMP_ACT_KILL""#, true),
        (r#""SCMP_ACT_ALLOW""#, false),
        (r#""SCMP_ACT_LOG""#, false),
        (r#""SCMP_ACT_TRACE""#, false),
    ];
    for (default, expected) in table {
        let profile = parse(&format!(r#"{{"defaultAction": {default}}}"#)).unwrap();
        assert_eq!(profile.newer_are_missing, expected, "{default}");
    }
}

#[test]
fn conditions_on_one_argument_become_rules_of_their_own() {
    let rules = |arguments: &str| {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
                [{{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{arguments}]}}]}}"#
        );
        parse(&text).unwrap().rules.iter().map(|rule| rule.conditions.len()).collect::<Vec<_>>()
    };
    let argument = |index| format!(r#"{{"index": {index}, "value": 1, "op": "SCMP_CMP_NE"}}"#);
    assert_eq!(rules(""), [0]);
    assert_eq!(rules(&[argument(0), argument(1)].join(",")), [2]);
    assert_eq!(rules(&[argument(0), argument(1), argument(0)].join(",")), [1, 1, 1]);
}

#[test]
fn what_is_no_profile_is_refused() {
    let rule =
        |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{{rule}}}]}}"#);
    let table = [
        (String::new(), "EOF"),
        ("{}".to_owned(), "defaultAction"),
        (r#"{"defaultAction": "ALLOW"}"#.to_owned(), "\"ALLOW\" is no action"),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.to_owned(), "needs a supervisor"),
        (rule(r#""names": ["read"]"#), "action"),
        (rule(r#""name": "a", "names": ["b"], "action": "SCMP_ACT_KILL""#), "both \"name\""),
        (rule(r#""name": "a", "action": "SCMP_ACT_ERRNO", "errno": "ENO""#), "\"ENO\" is no errno"),
        (rule(r#""name": "a", "action": "SCMP_ACT_ERRNO", "errnoRet": 65536"#), "65536"),
        (
            rule(
                r#""name": "a", "action": "SCMP_ACT_KILL", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#,
            ),
            "no argument 6",
        ),
        (
            rule(
                r#""name": "a", "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 0, "op": "EQ"}]"#,
            ),
            "\"EQ\" is no comparison",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["amd64"]}"#.to_owned(),
            "\"amd64\" is no architecture",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["LOG"]}"#.to_owned(),
            "\"LOG\" is no flag",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#
                .to_owned(),
            "both \"architectures\"",
        ),
        (
            rule(r#""name": "a", "action": "SCMP_ACT_KILL", "includes": {"minKernel": "x"}"#),
            "no kernel",
        ),
    ];
    for (text, reason) in table {
        let error = parse(&text).map(|_| ()).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}
