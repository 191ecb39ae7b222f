//! The board, counted on and read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::sys::shared::new_board;

#[test]
fn what_is_counted_is_told() {
    let board = new_board().unwrap();
    board.decided(Outcome::Success, None, Some("okta"), 6000);
    board.decided(Outcome::Failure, Some(Reason::Role), Some("okta"), 6000);
    board.decided(Outcome::Failure, Some(Reason::Role), Some("okta"), 6060);
    board.decided(Outcome::Failure, Some(Reason::TokenMissing), None, 6060);
    let all = board.decisions();
    assert_eq!(all.len(), 3);
    assert!(all.contains(&Count {
        outcome: Outcome::Failure,
        reason: "role",
        issuer: "okta".into(),
        count: 2
    }));
    assert!(all.contains(&Count {
        outcome: Outcome::Failure,
        reason: "token_missing",
        issuer: String::new(),
        count: 1
    }));
    let minutes = board.minutes(6060);
    assert_eq!(minutes[MINUTES - 2].outcomes, [1, 1, 0]);
    assert_eq!(minutes[MINUTES - 1].outcomes, [0, 2, 0]);
    assert_eq!(
        board.minutes(6060 + 3600 * 2)[MINUTES - 1],
        Slice::default()
    );
}

#[test]
fn ports_are_counted_by_name_with_their_ends() {
    let board = new_board().unwrap();
    for _ in 0..3 {
        board.opened("db:1");
    }
    board.opened("ssh:22");
    board.closed("db:1", Cause::Idle, 10, 200);
    board.closed("db:1", Cause::Client, 1, 2);
    let ports = board.ports();
    let names: Vec<_> = ports
        .iter()
        .map(|it| (it.name.as_str(), it.opened))
        .collect();
    assert_eq!(names, [("db:1", 3), ("ssh:22", 1)]);
    assert_eq!((ports[0].sent, ports[0].received), (11, 202));
    assert_eq!(ports[0].ends, [("idle", 1), ("client", 1)]);
    assert!(Cause::ALL.len() <= CAUSES);
}

#[test]
fn names_beyond_the_last_place_share_it() {
    let board = new_board().unwrap();
    board.know(&Config {
        ports: (1..NAMES + 5).map(|at| format!("db:{at}")).collect(),
        ..Config::default()
    });
    for name in ["db:3", "db:900", "db:901"] {
        board.opened(name);
    }
    let ports = board.ports();
    assert_eq!(ports.len(), NAMES);
    assert_eq!((&*ports[2].name, ports[2].opened), ("db:3", 1));
    assert_eq!(
        (&*ports[NAMES - 1].name, ports[NAMES - 1].opened),
        (OTHER, 2)
    );
}

#[test]
fn a_name_whose_writer_died_holds_nobody_up() {
    let board = new_board().unwrap();
    board.ports.state[0].store(WRITING, Relaxed);
    for _ in 0..2 {
        board.opened("db:1");
    }
    let ports = board.ports();
    assert_eq!(ports.len(), 1);
    assert_eq!((&*ports[0].name, ports[0].opened), ("db:1", 2));
}

#[test]
fn every_reason_has_its_place() {
    for reason in Reason::ALL.iter().chain(&[Reason::PortLimitTotal]) {
        assert_eq!(code_of(place_of(Some(*reason))), reason.code());
    }
    assert!(Reason::ALL.len() < REASONS - 1);
}
