//! The four forms, the fork rule, and what holds for every condition.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;
use crate::testing::object;
use proptest::prelude::*;
use serde_json::{Value, json};

fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether the claim `c` with this value fulfils the condition.
fn holds(text: &str, value: &Value) -> bool {
    holds_in(text, &json!({ "c": value }), Kind::Generic)
}

fn holds_in(text: &str, claims: &Value, kind: Kind) -> bool {
    condition(text).holds(&object(claims), kind)
}

#[test]
fn equal_compares_the_whole_text() {
    assert!(holds("c=main", &json!("main")));
    for other in ["Main", "main ", "mai", "", "main\n"] {
        assert!(!holds("c=main", &json!(other)), "{other:?}");
    }
    assert!(holds("c=", &json!("")));
    assert!(!holds("c=", &json!("x")));
    assert!(holds("c!=", &json!("x")));
    assert!(holds("c=a=b~c!=d", &json!("a=b~c!=d")));
}

#[test]
fn not_equal_holds_where_another_value_is_there() {
    assert!(holds("c!=main", &json!("dev")));
    assert!(!holds("c!=main", &json!("main")));
}

#[test]
fn missing_claim_and_null_fulfil_nothing() {
    for text in ["c=", "c!=x", "c~.*", "c*=**", "c.d!=x", "/c/d!=x"] {
        assert!(!holds(text, &Value::Null), "{text}");
        assert!(!holds_in(text, &json!({}), Kind::Generic), "{text}");
    }
}

#[test]
fn object_fulfils_nothing() {
    for text in ["c=", "c!=x", "c~.*", "c*=**", "c={}"] {
        assert!(!holds(text, &json!({})), "{text}");
        assert!(!holds(text, &json!({"c": "x"})), "{text}");
    }
}

#[test]
fn array_holds_where_one_element_does() {
    let groups = json!(["dev", "gitlab-admins"]);
    assert!(holds("c=dev", &groups));
    assert!(holds("c~gitlab-.*", &groups));
    assert!(holds("c*=git*", &groups));
    assert!(!holds("c=gitlab", &groups));
    assert!(!holds(r#"c=["dev","gitlab-admins"]"#, &groups));
    assert!(!holds("c=dev,gitlab-admins", &groups));
}

#[test]
fn array_fulfils_not_equal_where_no_element_is_equal() {
    assert!(!holds("c!=dev", &json!(["dev", "ops"])));
    assert!(holds("c!=dev", &json!(["ops", "qa"])));
    assert!(holds("c!=1", &json!(["1x", 2])));
    assert!(!holds("c!=1", &json!(["x", 1])));
}

#[test]
fn empty_array_fulfils_not_equal_only() {
    assert!(holds("c!=x", &json!([])));
    for text in ["c=", "c=[]", "c~.*", "c*=**"] {
        assert!(!holds(text, &json!([])), "{text}");
    }
}

#[test]
fn nulls_and_containers_in_an_array_are_passed_over() {
    let inside = json!([null, ["x"], {"x": "x"}]);
    for text in ["c=x", "c=null", "c=", "c~.*", "c*=**", "c~x"] {
        assert!(!holds(text, &inside), "{text}");
    }
    assert!(holds("c!=x", &inside));
    assert!(holds("c!=null", &inside));
    assert!(holds("c=x", &json!([null, "x"])));
}

#[test]
fn booleans_and_numbers_compare_by_their_json_text() {
    for value in [json!(true), json!("true"), json!([true])] {
        assert!(holds("c=true", &value), "{value}");
        assert!(!holds("c!=true", &value), "{value}");
        assert!(!holds("c=false", &value), "{value}");
    }
    assert!(holds("c=false", &json!(false)));
    for value in [json!(42), json!("42")] {
        assert!(holds("c=42", &value));
        assert!(holds("c~[0-9]+", &value));
        assert!(holds("c*=4*", &value));
        assert!(!holds("c=42.0", &value));
    }
    assert!(holds("c=-1", &json!(-1)));
    assert!(holds("c=1.5", &json!(1.5)));
    assert!(holds("c=18446744073709551615", &json!(u64::MAX)));
    assert!(holds("c=-9223372036854775808", &json!(i64::MIN)));
    assert!(holds(
        &format!("c={}", json!(-f64::MIN_POSITIVE)),
        &json!(-f64::MIN_POSITIVE)
    ));
}

#[test]
fn no_number_of_the_same_worth_is_another() {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (text, number) in [
        ("c!=1.10", "1.10"),
        ("c!=1.1", "1.10"),
        ("c!=100", "1e2"),
        ("c!=1e2", "100"),
        ("c!=42.0", "42"),
        ("c!=18446744073709551616", "18446744073709551616"),
        ("c!=18446744073709551616", "1.8446744073709551616e19"),
    ] {
        assert!(!holds(text, &read(number)), "{text} {number}");
        assert!(
            !holds(text, &read(&format!("[{number}]"))),
            "{text} {number}"
        );
    }
    assert!(holds("c!=9007199254740993", &read("9007199254740992")));
    assert!(holds("c!=1.10", &json!("1.1")));
    assert!(holds("c!=x", &json!(1)));
}

#[test]
fn a_blank_beside_the_operator_is_refused() {
    for text in [
        "a = b", "a =b", "a= b", " a=b", "a\t=b", "a != b", "a~ b", "a *=b", "/a =b",
    ] {
        let error = Condition::parse(text).unwrap_err();
        assert_eq!(error, ConditionError::Blank(text.to_owned()));
    }
    for text in ["a=b c", "a=b ", "/a b=c", "a=", "a~.* x"] {
        assert!(Condition::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn operators_of_other_languages_are_refused() {
    for text in [
        "a==b", "a!==b", "a=~b", "a~=b", "a*==b", "a>=5", "a<=5", "a!~b", "/a/b==c",
    ] {
        let error = Condition::parse(text).unwrap_err();
        assert_eq!(error, ConditionError::UnknownOperator(text.to_owned()));
        assert!(error.to_string().contains(text), "{error}");
    }
    for text in ["a=b=c", "a=b==", "a~[=]b", "a!b=c", "a=>b"] {
        assert!(Condition::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn regex_is_over_the_whole_value() {
    assert!(holds("c~v[0-9]+", &json!("v12")));
    for other in ["xv12", "v12x", "v12\n", "\nv12", "v", ""] {
        assert!(!holds("c~v[0-9]+", &json!(other)), "{other:?}");
    }
    assert!(holds("c~a|ab", &json!("ab")));
    assert!(!holds("c~a|b", &json!("ax")));
    assert!(!holds("c~(?m)^a$", &json!("a\nb")));
    assert!(holds("c~(?i)main", &json!("MAIN")));
    // Else a line feed would get by a rule that keeps out.
    assert!(holds("c~.", &json!("\n")) && holds("c~contractor.*", &json!("contractor\n")));
}

#[test]
fn regex_that_would_slip_out_of_its_anchors_is_refused() {
    for text in [
        "c~a)|(?:b",
        "c~a)|(b",
        "c~)(",
        "c~[",
        "c~(?",
        "c~a\\",
        "c~(?x)a # b",
    ] {
        assert!(
            matches!(Condition::parse(text), Err(ConditionError::Regex(..))),
            "{text}"
        );
    }
}

#[test]
fn regex_that_would_be_large_is_refused() {
    assert!(Condition::parse(r"c~\w{1,64}").is_ok());
    assert!(matches!(
        Condition::parse(r"c~((\w{100}){100}){100}"),
        Err(ConditionError::PatternTooLarge(_))
    ));
}

#[test]
fn regex_without_backtracking_is_quick() {
    let start = std::time::Instant::now();
    assert!(!holds("c~(a+)+(a|aa)*b?c", &json!("a".repeat(10_000))));
    assert!(!holds("c*=*a*a*a*a*a*a*a*a*b", &json!("a".repeat(10_000))));
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn one_star_does_not_cross_a_slash_and_two_do() {
    for (glob, value, wanted) in [
        ("shop/*", "shop/orders", true),
        ("shop/*", "shop/", true),
        ("shop/*", "shop/a/b", false),
        ("shop/*", "shop", false),
        ("shop/**", "shop/a/b", true),
        ("shop/**", "shop/", true),
        ("shop/**", "shop", false),
        ("**/orders", "shop/a/orders", true),
        ("**/orders", "orders", false),
        ("*", "", true),
        ("*", "a/b", false),
        ("**", "a/b", true),
        ("***", "a/b", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "aX/bYc", false),
        ("release-*", "release-1\n2", true),
        ("release-**", "release-1\n/2", true),
        ("main", "main\n", false),
        ("main", "xmain", false),
    ] {
        assert_eq!(
            holds(&format!("c*={glob}"), &json!(value)),
            wanted,
            "{glob} {value:?}"
        );
    }
}

#[test]
fn all_but_the_star_is_literal_in_a_glob() {
    assert!(holds("c*=a?[b].{c}+(d)|^$\\", &json!("a?[b].{c}+(d)|^$\\")));
    assert!(!holds("c*=a?", &json!("ab")));
    assert!(!holds("c*=a.b", &json!("axb")));
    assert!(!holds("c*=[ab]", &json!("a")));
    assert!(holds("c*=*=*", &json!("a=b")));
}

#[test]
fn the_first_operator_counts() {
    for (text, path, operator, value) in [
        ("a=b!=c", "a", Operator::Equal, "b!=c"),
        ("a!=b=c", "a", Operator::NotEqual, "b=c"),
        ("a~b=c", "a", Operator::Regex, "b=c"),
        ("a*=b~c", "a", Operator::Glob, "b~c"),
        ("a*b=c", "a*b", Operator::Equal, "c"),
        ("a~0", "a", Operator::Regex, "0"),
        ("/a~0b~1c=d", "/a~0b~1c", Operator::Equal, "d"),
        ("/a~.*", "/a", Operator::Regex, ".*"),
        (
            "/https:~1~1x.com~1roles~2.*",
            "/https:~1~1x.com~1roles",
            Operator::Regex,
            "2.*",
        ),
        ("é=ü", "é", Operator::Equal, "ü"),
    ] {
        let found = condition(text);
        assert_eq!(
            (
                found.path.to_string().as_str(),
                found.operator,
                found.value.as_str()
            ),
            (path, operator, value),
            "{text}"
        );
        assert_eq!(found.to_string(), text);
        assert_eq!(*found.path(), ClaimPath::parse(path).unwrap());
    }
}

#[test]
fn escapes_of_a_pointer_are_no_operators() {
    assert!(matches!(
        Condition::parse("/a~1~0b"),
        Err(ConditionError::NoOperator(_))
    ));
}

#[test]
fn bad_conditions_are_refused_and_the_forms_shown() {
    for text in [
        "", "groups", "groups!", "groups*", "=x", "!=x", "~x", "a..b=c", "/=x", "a~", "a*=", "a~(",
        "a\n=b",
    ] {
        let error = Condition::parse(text)
            .map(|found| found.to_string())
            .expect_err(text)
            .to_string();
        assert!(
            error.ends_with("PATH=VALUE, PATH!=VALUE, PATH~REGEX or PATH*=GLOB"),
            "{text}: {error}"
        );
        assert!(!error.contains('\n'), "{text}: {error}");
    }
    let error = Condition::parse("ref~(main").unwrap_err().to_string();
    assert!(
        error.starts_with(r#"the regular expression of "ref~(main" is not valid: unclosed group;"#),
        "{error}"
    );
}

#[test]
fn pointer_and_dots_lead_to_the_value() {
    let claims = json!({"realm_access": {"roles": ["admin"]}, "https://x.com/roles": ["ops"]});
    assert!(holds_in(
        "realm_access.roles=admin",
        &claims,
        Kind::Keycloak
    ));
    assert!(holds_in(
        "/https:~1~1x.com~1roles=ops",
        &claims,
        Kind::Generic
    ));
}

#[test]
fn fork_is_refused_where_the_job_runs_elsewhere() {
    for (name, twin) in TWINS {
        let fork = json!({name: "shop/orders", twin: "mallory/orders"});
        for text in [
            format!("{name}=shop/orders"),
            format!("/{name}=shop/orders"),
            format!("{name}*=shop/*"),
            format!("{name}~shop/.*"),
        ] {
            assert!(!holds_in(&text, &fork, Kind::Gitlab), "{text}");
            assert!(holds_in(&text, &fork, Kind::Generic), "{text}");
        }
        // Which of the two names the fork depends on GitLab's version: both must fulfil it.
        assert!(!holds_in(
            &format!("{name}=mallory/orders"),
            &fork,
            Kind::Gitlab
        ));
        assert!(!holds_in(
            &format!("{name}!=mallory/orders"),
            &fork,
            Kind::Gitlab
        ));
        assert!(holds_in(&format!("{name}!=other"), &fork, Kind::Gitlab));
        assert!(!holds_in(
            &format!("{name}=x"),
            &json!({twin: "x"}),
            Kind::Gitlab
        ));
    }
}

#[test]
fn own_project_passes_the_fork_rule() {
    for (name, twin) in TWINS {
        let text = format!("{name}=20");
        for claims in [
            json!({name: "20", twin: "20"}),
            json!({name: "20", twin: 20}),
            json!({name: "20"}),
            json!({name: "20", twin: null}),
        ] {
            assert!(holds_in(&text, &claims, Kind::Gitlab), "{claims}");
        }
        for twin_value in [json!(""), json!([]), json!({}), json!(false)] {
            assert!(
                !holds_in(&text, &json!({name: "20", twin: twin_value}), Kind::Gitlab),
                "{twin_value}"
            );
        }
    }
}

#[test]
fn fork_rule_is_for_its_four_claims_only() {
    let claims = json!({"ref": "x", "job_ref": "y", "user_id": "x", "job_user_id": "y", "a": {"project_path": "x"}, "job_project_path": "y"});
    for text in [
        "ref=x",
        "user_id=x",
        "a.project_path=x",
        "job_project_path=y",
    ] {
        assert!(holds_in(text, &claims, Kind::Gitlab), "{text}");
    }
}

#[test]
fn explanation_says_what_was_wanted_and_what_came() {
    let explain = |text: &str, claims: Value| condition(text).explain(&object(&claims));
    assert_eq!(
        explain("ref=main", json!({"ref": "dev"})),
        r#"ref: wanted ="main", got "dev""#
    );
    assert_eq!(
        explain("a.b*=x/*", json!({"a": {"b": ["y\n", true]}})),
        r#"a.b: wanted *="x/*", got ["y\n",true]"#
    );
    assert_eq!(
        explain("ref!=main", json!({})),
        r#"ref: wanted !="main", got nothing; no token has had the claim ref so far: is its name right?"#
    );
    assert_eq!(
        explain(
            "project_path=a/b",
            json!({"project_path": "a/b", "job_project_path": "m/b"})
        ),
        r#"project_path: wanted ="a/b", got "a/b" (job_project_path: "m/b")"#
    );
    let long = explain("c=x", json!({"c": "y".repeat(5000)}));
    assert!(long.len() < 200, "{long}");
}

fn any_plain() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no other", |number| number.is_finite())
            .prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
    ]
}

fn any_claim() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any_plain(),
        "[ab/\n]{0,3}".prop_map(Value::from)
    ];
    plain.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_wanted() -> impl Strategy<Value = String> {
    prop_oneof![Just("true".to_owned()), "-?[0-2]", "[ab/]{0,3}"]
}

/// A glob, read slowly and plainly.
fn glob_matches(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', '*', rest @ ..] => (0..=text.len()).any(|taken| glob_matches(rest, &text[taken..])),
        ['*', rest @ ..] => (0..=text.len())
            .take_while(|taken| !text[..*taken].contains(&'/'))
            .any(|taken| glob_matches(rest, &text[taken..])),
        [literal, rest @ ..] => text
            .split_first()
            .is_some_and(|(first, after)| first == literal && glob_matches(rest, after)),
    }
}

proptest! {
    #[test]
    fn any_text_never_panics(text in any::<String>(), likely in r#"[/a.~01!*=(|)\[\\é]{0,10}"#, value in any_claim()) {
        for text in [text, likely] {
            if let Ok(condition) = Condition::parse(&text) {
                prop_assert_eq!(condition.to_string(), text);
                let claims = json!({"a": value, "/": value});
                let _ = condition.holds(&object(&claims), Kind::Gitlab);
                let _ = condition.explain(&object(&claims));
            }
        }
    }

    #[test]
    fn not_equal_is_the_opposite_of_equal_where_a_claim_is_there(value in any_claim(), wanted in any_wanted()) {
        let (equal, unequal) = (holds(&format!("c={wanted}"), &value), holds(&format!("c!={wanted}"), &value));
        if value.is_null() || value.is_object() {
            prop_assert!(!equal && !unequal);
        } else if value.to_string().contains(".0") || wanted == "-0" {
            // 1.0 is not the text 1, nor 0 the text -0, and neither is another number.
            prop_assert!(!(equal && unequal));
        } else {
            prop_assert_ne!(equal, unequal);
        }
    }

    #[test]
    fn equal_is_a_pattern_of_literals(value in any_claim(), wanted in any_wanted()) {
        prop_assume!(!wanted.is_empty());
        let equal = holds(&format!("c={wanted}"), &value);
        prop_assert_eq!(equal, holds(&format!("c*={wanted}"), &value));
        prop_assert_eq!(equal, holds(&format!("c~{}", regex::escape(&wanted)), &value));
    }

    #[test]
    fn plain_value_and_its_text_are_the_same(value in any_plain(), wanted in any_wanted()) {
        let text = format!("c={wanted}");
        prop_assert_eq!(holds(&text, &value), holds(&text, &json!(value.to_string())));
        let own = format!("c={value}");
        prop_assert!(holds(&own, &value));
    }

    #[test]
    fn array_is_the_sum_of_its_elements(values in prop::collection::vec(any_claim(), 0..5), wanted in any_wanted(), operator in "=|~|\\*=") {
        prop_assume!(!wanted.is_empty());
        let text = format!("c{operator}{wanted}");
        let one = values.iter().any(|value| !value.is_array() && holds(&text, value));
        prop_assert_eq!(holds(&text, &Value::Array(values)), one);
    }

    #[test]
    fn glob_means_what_it_says(glob in "[ab/*.\n]{1,6}", text in "[ab/.\n]{0,6}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(holds(&format!("c*={glob}"), &json!(text)), glob_matches(&chars(&glob), &chars(&text)));
    }

    #[test]
    fn fork_rule_only_ever_refuses_more(
        own in any_claim(), twin in any_claim(), wanted in any_wanted(), operator in "=|!=", claim in prop::sample::select(&TWINS[..]),
    ) {
        let text = format!("{}{operator}{wanted}", claim.0);
        let claims = json!({claim.0: own, claim.1: twin});
        let gitlab = holds_in(&text, &claims, Kind::Gitlab);
        let generic = holds_in(&text, &claims, Kind::Generic);
        let twin_alone = holds_in(&text, &json!({claim.0: twin}), Kind::Generic);
        prop_assert_eq!(gitlab, generic && (twin.is_null() || twin_alone));
    }
}

#[test]
fn what_only_keeps_out_names_no_tenant() {
    for (text, names) in [
        ("tid=x", true),
        ("tid!=x", false),
        ("tid~x", true),
        ("tid~(?i)3f8c2d17-7b1e-4a9d-8c51-92e0d6b4117a|b", true),
        ("tid*=x-*", true),
        ("tid~.*", false),
        ("tid~.+", false),
        ("tid*=**", false),
        ("tid*=*", false),
        ("tid~[0-9a-f-]{36}", false),
        ("tid~[0-7].*", false),
        ("tid~.{36}", false),
    ] {
        assert_eq!(
            Condition::parse(text).unwrap().names_a_tenant(),
            names,
            "{text}"
        );
    }
    for text in ["tid=", "tid!="] {
        assert!(
            !Condition::parse(text).is_ok_and(|it| it.names_a_tenant()),
            "{text}"
        );
    }
}

#[test]
fn a_condition_that_blanks_tore_apart_is_shown_as_one_word() {
    for line in [
        "roles = developer",
        "roles= developer",
        "roles =developer",
        "a=b roles = developer",
        "roles ~ dev.* x=y",
        "ref *= release/**",
        "ref != main",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let wrong = Condition::parse_all(&words).unwrap_err();
        assert!(
            wrong.contains(": write it without blanks: "),
            "{line}: {wrong}"
        );
    }
    let wrong = Condition::parse_all(&["a=b", "roles", "=", "developer"]).unwrap_err();
    assert_eq!(
        wrong,
        "roles = developer: write it without blanks: roles=developer"
    );
    for line in [
        "groups",
        "groups a=b",
        "a=b groups",
        "=",
        "= x",
        "a =",
        "a = =",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let wrong = Condition::parse_all(&words).unwrap_err();
        assert!(!wrong.contains("without blanks:"), "{line}: {wrong}");
    }
    let one = Condition::parse_all(&["roles = developer"]).unwrap_err();
    assert!(one.contains("write it without blanks"), "{one}");
    assert!(Condition::parse_all(&["a=b", "c!=d", "e="]).is_ok());
}
