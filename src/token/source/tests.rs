//! Which credential is found, and what goes out of the request.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;

fn look<'r>(
    sources: &[Source],
    fields: &'r [(&'r str, &'r str)],
    args: Option<&'r str>,
) -> Shown<'r> {
    let target = Target {
        args: args.map(str::as_bytes),
        unparsed_uri: b"/a?x=1&t=A.B.C&y=%20",
        the_request: b"GET /a?x=1&t=A.B.C&y=%20 HTTP/1.1",
        filename: b"proxy:http://u/a?x=1&t=A.B.C&y=%20",
        client_args: None,
    };
    collect(sources, &Names::new().unwrap(), &fields, &target)
}

fn token(shown: &Shown<'_>) -> Option<Result<String, Error>> {
    shown.token.as_ref().map(|it| {
        it.as_ref()
            .map(|t| String::from_utf8_lossy(t).into_owned())
            .map_err(Clone::clone)
    })
}

#[test]
fn a_bearer_token_is_found_and_its_header_taken() {
    let shown = look(
        &[Source::Bearer],
        &[("authorization", "bEaReR  A.B.C ")],
        None,
    );
    assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
    assert_eq!(shown.take, [Take::Header("Authorization".into())]);
}

#[test]
fn basic_is_left_alone_where_it_is_no_source() {
    let shown = look(&[Source::Bearer], &[("Authorization", "Basic dTpw")], None);
    assert_eq!(token(&shown), None);
    assert!(shown.take.is_empty());
}

#[test]
fn a_credential_of_ours_behind_another_is_two() {
    for value in [
        "Negotiate abc, Bearer A.B.C",
        "Digest username=\"x\", realm=\"y\",bEARER\tA.B.C",
        "token x ,  basic dTpw",
        ", Bearer A.B.C",
        ",",
        "Negotiate abc, Bearer",
        "Digest username=\", Bearer A.B.C",
    ] {
        let fields = [("Authorization", value)];
        let shown = look(&[Source::Bearer], &fields, None);
        assert_eq!(token(&shown), Some(Err(Error::Ambiguous)), "{value}");
        assert_eq!(shown.take, [Take::Header("Authorization".into())]);
    }
    for value in [
        "Negotiate abc",
        "Digest username=\"x\", realm=\"Basic y\", bearer=1",
        "token x, y",
        "",
    ] {
        let fields = [("Authorization", value)];
        let shown = look(&[Source::Bearer], &fields, None);
        assert_eq!(token(&shown), None, "{value}");
        assert!(shown.take.is_empty(), "{value}");
    }
}

#[test]
fn the_password_of_basic_is_the_token() {
    let shown = look(
        &[Source::Basic],
        &[("Authorization", "Basic dTpBLkIuQw==")],
        None,
    );
    assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
}

#[test]
fn a_basic_credential_without_a_password_in_it_is_no_token() {
    for (value, wrong) in [
        ("Basic dTo=", Error::Empty),
        ("Basic dQ==", Error::Basic),
        ("Basic dTpBLkIuQw", Error::Basic),
        ("Basic", Error::Basic),
    ] {
        let fields = [("Authorization", value)];
        let shown = look(&[Source::Basic], &fields, None);
        assert_eq!(token(&shown), Some(Err(wrong)), "{value}");
        assert_eq!(shown.take, [Take::Header("Authorization".into())]);
    }
}

#[test]
fn a_header_of_its_own_holds_one_token_and_is_taken() {
    let source = [Source::Header(FieldName::new("X-Token").unwrap())];
    assert_eq!(token(&look(&source, &[("Other", "A.B.C")], None)), None);
    for (fields, wanted) in [
        (&[("x-token", " A.B.C ")][..], Ok("A.B.C".to_owned())),
        (&[("X-Token", " ")], Err(Error::Empty)),
        (&[("X-Token", "A.B.C,A.B.C")], Err(Error::Ambiguous)),
        (
            &[("X-Token", "A.B.C"), ("x-token", "A.B.C")],
            Err(Error::Ambiguous),
        ),
    ] {
        let shown = look(&source, fields, None);
        assert_eq!(token(&shown), Some(wanted), "{fields:?}");
        assert_eq!(shown.take.len(), 1);
        assert!(
            matches!(&shown.take[0], Take::Header(name) if name.eq_ignore_ascii_case("X-Token"))
        );
    }
}

#[test]
fn two_credentials_in_one_header_are_ambiguous() {
    for value in [
        "Bearer A.B.C, Bearer A.B.C",
        "Basic dTpw, Bearer A.B.C",
        "Bearer A,B",
    ] {
        let fields = [("Authorization", value)];
        let shown = look(&[Source::Bearer], &fields, None);
        assert_eq!(token(&shown), Some(Err(Error::Ambiguous)), "{value}");
    }
    let twice = [("Authorization", "Bearer A"), ("Authorization", "Bearer A")];
    assert_eq!(
        token(&look(&[Source::Bearer], &twice, None)),
        Some(Err(Error::Ambiguous))
    );
}

#[test]
fn the_same_token_by_two_sources_is_one() {
    let fields = [("Authorization", "Bearer A.B.C"), ("Cookie", "t=A.B.C")];
    let sources = [Source::Bearer, Source::Cookie("t".into())];
    assert_eq!(
        token(&look(&sources, &fields, None)),
        Some(Ok("A.B.C".into()))
    );
    let fields = [("Authorization", "Bearer A.B.C"), ("Cookie", "t=A.B.D")];
    assert_eq!(
        token(&look(&sources, &fields, None)),
        Some(Err(Error::Ambiguous))
    );
}

#[test]
fn a_cookie_is_cut_out_and_the_others_stay_as_they_were() {
    let source = [Source::Cookie("t".into())];
    for (cookie, kept) in [
        ("a=1; t=A.B.C; b=2", Some("a=1; b=2")),
        ("t=A.B.C; b=2", Some("b=2")),
        ("a=1; t=A.B.C", Some("a=1")),
        ("t=\"A.B.C\"", None),
        ("a=1, t=A.B.C", Some("a=1")),
    ] {
        let fields = [("Cookie", cookie)];
        let shown = look(&source, &fields, None);
        assert_eq!(token(&shown), Some(Ok("A.B.C".into())), "{cookie}");
        assert_eq!(
            shown.take,
            [Take::Cookies(kept.map(|it| it.as_bytes().to_vec()))],
            "{cookie}"
        );
    }
    for (cookie, wrong) in [("t=A; t=A", Error::Ambiguous), ("a=1; t=", Error::Empty)] {
        let fields = [("Cookie", cookie)];
        assert_eq!(token(&look(&source, &fields, None)), Some(Err(wrong)));
    }
}

#[test]
fn a_query_token_goes_out_of_every_copy_of_the_target() {
    let shown = look(&[Source::Query("t".into())], &[], Some("x=1&t=A.B.C&y=%20"));
    assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
    assert_eq!(
        shown.take,
        [Take::Query {
            args: Some(b"x=1&y=%20".to_vec()),
            unparsed_uri: Some(b"/a?x=1&y=%20".to_vec()),
            the_request: Some(b"GET /a?x=1&y=%20 HTTP/1.1".to_vec()),
            filename: Some(b"proxy:http://u/a?x=1&y=%20".to_vec()),
            forward: false,
        }]
    );
}

#[test]
fn a_query_token_with_an_escaped_name_is_found_too() {
    let shown = look(&[Source::Query("t_k".into())], &[], Some("t%5Fk=A.B.C"));
    assert_eq!(token(&shown), Some(Ok("A.B.C".into())));
    let shown = look(&[Source::Query("t".into())], &[], Some("t=A&%74=A"));
    assert_eq!(token(&shown), Some(Err(Error::Ambiguous)));
}

#[test]
fn a_comma_in_a_credential_is_two_tokens() {
    let cookies = [Source::Cookie("t".into())];
    for (cookie, kept) in [
        ("t=A.B.C,D.E.F", None),
        ("t=A.B.C,", None),
        ("t=A.B.C, D.E.F; b=2", Some(" b=2")),
        ("a=1; t=A.B.C ,D.E.F,b=2", Some("a=1,b=2")),
        ("t=\"A.B.C,D.E.F\"", None),
        ("t=A.B.C,=D.E.F", None),
    ] {
        let fields = [("Cookie", cookie)];
        let shown = look(&cookies, &fields, None);
        assert_eq!(token(&shown), Some(Err(Error::Ambiguous)), "{cookie}");
        let kept = kept.map(|it| it.trim_start().as_bytes().to_vec());
        assert_eq!(shown.take, [Take::Cookies(kept)], "{cookie}");
    }
    for cookie in [
        "a=1,2; t=A.B.C",
        "a=1, t=A.B.C",
        "t=A.B.C, a=1",
        "t=A.B.C,a =1,2",
        ",t=A.B.C",
    ] {
        let fields = [("Cookie", cookie)];
        assert_eq!(
            token(&look(&cookies, &fields, None)),
            Some(Ok("A.B.C".into())),
            "{cookie}"
        );
    }
    let query = [Source::Query("t".into())];
    for args in ["t=A.B.C,D.E.F", "t=A.B.C%2cD.E.F&x=1", "t=,"] {
        assert_eq!(
            token(&look(&query, &[], Some(args))),
            Some(Err(Error::Ambiguous)),
            "{args}"
        );
    }
}

#[test]
fn a_password_with_a_comma_is_two_only_where_it_is_two_tokens() {
    use base64::Engine as _;
    for (password, two) in [
        ("A.B.C,D.E.F", true),
        ("x,A.B.C,D.E.F", true),
        ("my,pass", false),
        ("A.B.C,x", false),
    ] {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("u:{password}"));
        let value = format!("Basic {basic}");
        let fields = [("Authorization", &*value)];
        let wanted = if two {
            Err(Error::Ambiguous)
        } else {
            Ok(password.to_owned())
        };
        assert_eq!(
            token(&look(&[Source::Basic], &fields, None)),
            Some(wanted),
            "{password}"
        );
    }
}

#[test]
fn a_cookie_s_name_is_compared_byte_by_byte() {
    let source = [Source::Cookie("t".into())];
    for cookie in [" \tt \t=A.B.C", "a=1;\tt=A.B.C", "a;t=A.B.C", "=a;t=A.B.C"] {
        let fields = [("Cookie", cookie)];
        assert_eq!(
            token(&look(&source, &fields, None)),
            Some(Ok("A.B.C".into())),
            "{cookie:?}"
        );
    }
    for cookie in [
        "T=A.B.C",
        "\u{b}t=A.B.C",
        "t\u{c}=A.B.C",
        "=t=A.B.C",
        "t",
        "=A.B.C",
        "\"t\"=A.B.C",
        "%74=A.B.C",
    ] {
        let fields = [("Cookie", cookie)];
        let shown = look(&source, &fields, None);
        assert_eq!(token(&shown), None, "{cookie:?}");
        assert!(shown.take.is_empty(), "{cookie:?}");
    }
}
