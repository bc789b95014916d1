//! What may become of generations, whatever is asked in whatever order.

use proptest::prelude::*;

use super::super::ToTry;
use super::*;

fn asked(digest: u8, fresh: bool) -> Asked {
    Asked {
        component: format!("driver@{digest}"),
        digest: format!("sha256:{digest}"),
        at: 0,
        fresh,
    }
}

#[test]
fn a_swap_and_a_rollback() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.begins(1).unwrap();
    assert!(ledger.runs(1));
    assert!(!ledger.runs(1));
    assert_eq!(ledger.ask(asked(2, false)), Ok(2));
    ledger.begins(2).unwrap();
    assert!(matches!(
        ledger.ask(asked(2, false)),
        Err(LedgerError::Same { number: 2, .. })
    ));
    assert!(ledger.runs(2));
    let reason = || Fate::Revoked("it was wrong".to_owned());
    assert_eq!(ledger.take_back(2, reason()), Ok(1));
    assert_eq!(ledger.find(2).unwrap().fate, reason());
    assert_eq!(ledger.wanted().number, 1);
    // A second host that wanted to do the same hears that it was done.
    assert!(matches!(
        ledger.take_back(2, reason()),
        Err(LedgerError::Moved { wanted: 1, .. })
    ));
    assert_eq!(ledger.take_back(1, reason()), Err(LedgerError::First(1)));
    // Numbers are never used twice.
    assert_eq!(ledger.ask(asked(2, false)), Ok(3));
    assert_eq!(ledger.wanted().from, Some(1));
}

#[test]
fn what_no_host_has_begun_with_leaves_the_way_back_as_it_was() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.begins(1).unwrap();
    ledger.ask(asked(2, false)).unwrap();
    ledger.begins(2).unwrap();
    // Refused before any lane heard of it.
    ledger.ask(asked(3, false)).unwrap();
    let refused = || Fate::Refused("it does not fit".to_owned());
    assert_eq!(ledger.take_back(3, refused()), Ok(2));
    assert_eq!(ledger.wanted().from, Some(1));
    // Who was about to begin with it hears that it may not.
    let moved = LedgerError::Moved {
        asked: 3,
        wanted: 2,
    };
    assert_eq!(ledger.begins(3), Err(moved));
    // Replaced before any lane heard of it.
    ledger.ask(asked(4, false)).unwrap();
    assert_eq!(ledger.ask(asked(5, false)), Ok(5));
    assert_eq!(ledger.wanted().from, Some(2));
    ledger.begins(5).unwrap();
    assert_eq!(ledger.take_back(5, refused()), Ok(2));
    assert_eq!(ledger.wanted().from, None);
}

#[test]
fn a_file_that_says_something_else_is_a_swap_and_a_restart_is_none() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.ask(asked(2, false)).unwrap();
    ledger.start(asked(1, false)).unwrap();
    assert_eq!(
        ledger.wanted().number,
        2,
        "what an operator did outlives restarts"
    );
    ledger.start(asked(3, false)).unwrap();
    assert_eq!(ledger.wanted().digest, "sha256:3");
    ledger.start(asked(3, false)).unwrap();
    assert_eq!(ledger.wanted().number, 3);
}

#[test]
fn a_version_that_is_another_component_now_is_refused_however_it_is_asked_for() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.ask(asked(2, false)).unwrap();
    let before = ledger.clone();
    let rewritten = || Asked {
        component: "driver@1".to_owned(),
        ..asked(9, false)
    };
    let refused = LedgerError::Rewritten {
        component: "driver@1".to_owned(),
        number: 1,
        known: "sha256:1".to_owned(),
        found: "sha256:9".to_owned(),
    };
    assert_eq!(ledger.start(rewritten()), Err(refused.clone()));
    assert_eq!(ledger.ask(rewritten()), Err(refused.clone()));
    let how = ToTry {
        lasts: 1,
        gate: None,
    };
    assert_eq!(ledger.try_beside(rewritten(), &how), Err(refused));
    assert_eq!(ledger, before);
    // A file may be written over, also where it has such a name.
    for (digest, file) in [(7, "driver@1.wasm"), (8, "driver@1.wasm")] {
        let file = Asked {
            component: file.to_owned(),
            ..asked(digest, false)
        };
        ledger.start(file).unwrap();
    }
    assert_eq!(ledger.wanted().number, 4);
}

#[test]
fn what_ails_one_host_does_not_take_a_generation_from_others() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.begins(1).unwrap();
    ledger.ask(asked(2, false)).unwrap();
    ledger.begins(2).unwrap();
    ledger.runs(2);
    let reason = || "no memory".to_owned();
    assert_eq!(
        ledger.refuse(2, reason(), true),
        Err(LedgerError::AtWork(2))
    );
    assert_eq!(ledger.wanted().fate, Fate::Running);
    // What is wrong with the generation itself takes it back.
    assert_eq!(ledger.refuse(2, reason(), false), Ok(1));
    assert_eq!(ledger.find(2).unwrap().fate, Fate::Refused(reason()));
    // Nobody has it at work yet.
    ledger.ask(asked(3, false)).unwrap();
    assert_eq!(ledger.refuse(3, reason(), true), Ok(1));
}

#[test]
fn it_is_known_what_was_gone_back_to() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.begins(1).unwrap();
    assert_eq!(ledger.gone_back_from(), None);
    ledger.ask(asked(2, false)).unwrap();
    ledger.begins(2).unwrap();
    assert_eq!(ledger.gone_back_from(), None);
    let reason = || Fate::Revoked("it was wrong".to_owned());
    ledger.take_back(2, reason()).unwrap();
    assert_eq!(ledger.gone_back_from().map(|it| it.number), Some(2));
    ledger.ask(asked(3, false)).unwrap();
    assert_eq!(ledger.gone_back_from(), None);
    ledger.take_back(3, reason()).unwrap();
    assert_eq!(ledger.gone_back_from().map(|it| it.number), Some(3));
    let note = |at| Note {
        at,
        text: "it lacks a feature".to_owned(),
    };
    ledger.note_once(1, note(1));
    ledger.note_once(1, note(2));
    assert_eq!(ledger.wanted().notes, [note(1)]);
}

#[test]
fn whatever_is_forgotten_the_way_back_and_what_was_undone_are_not() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.begins(1).unwrap();
    ledger.ask(asked(2, false)).unwrap();
    ledger.begins(2).unwrap();
    // None of these fits, and no host begins with one; some are refused, and others replaced.
    let fresh = |number: u64| Asked {
        component: format!("file-{number}"),
        digest: format!("sha256:file-{number}"),
        at: 0,
        fresh: false,
    };
    let most = REMEMBERED as u64 + 10;
    for number in 3..=most {
        assert_eq!(ledger.ask(fresh(number)), Ok(number));
        if number % 2 == 1 {
            ledger.refuse(number, "no".to_owned(), false).unwrap();
        }
    }
    assert_eq!(ledger.wanted().number, most);
    assert!(ledger.generations().len() <= REMEMBERED + 2);
    assert_eq!(ledger.find(3), None);
    let undone: Vec<u64> = (3..=most).filter(|number| number % 2 == 1).collect();
    assert_eq!(ledger.undone().into_iter().collect::<Vec<_>>(), undone);
    let read = Ledger::decode(&ledger.encode()).unwrap();
    assert_eq!(read.as_ref(), Some(&ledger));
    // Back over what no host has begun with, and then over the one that was at work.
    assert_eq!(ledger.refuse(most, "no".to_owned(), false), Ok(2));
    let reason = Fate::Revoked("it was wrong".to_owned());
    assert_eq!(ledger.take_back(2, reason), Ok(1));
    assert_eq!(ledger.wanted().number, 1);
}

#[test]
fn another_layout_is_refused() {
    let text = Ledger::begin(asked(1, false)).encode();
    assert_eq!(Ledger::decode(""), Ok(None));
    assert!(Ledger::decode(&text).unwrap().is_some());
    for wrong in [
        text.replace("\"layout\": 1", "\"layout\": 2"),
        text.replace("\"wanted\": 1", "\"wanted\": 2"),
        "{".to_owned(),
    ] {
        assert!(Ledger::decode(&wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn one_is_always_wanted_and_numbers_rise(steps in proptest::collection::vec((0..5u8, 0..4u8), 0..40)) {
        let mut ledger = Ledger::begin(asked(0, false));
        let mut greatest = 1;
        for (what, digest) in steps {
            let wanted = ledger.wanted().number;
            match what {
                0 => {
                    if let Ok(number) = ledger.ask(asked(digest, false)) {
                        prop_assert_eq!(number, greatest + 1);
                        greatest = number;
                    }
                }
                1 => {
                    let _ = ledger.take_back(wanted, Fate::Revoked("wrong".to_owned()));
                }
                2 => drop(ledger.runs(wanted)),
                3 => ledger.begins(wanted).unwrap(),
                _ => ledger.start(asked(digest, false)).unwrap(),
            }
            greatest = greatest.max(ledger.wanted().number);
            let wanted = ledger.wanted();
            prop_assert!(!wanted.fate.is_undone());
            // Going back never leads to what was undone.
            let mut from = wanted.from;
            while let Some(number) = from {
                let before = ledger.find(number).unwrap();
                prop_assert!(!before.fate.is_undone());
                prop_assert!(before.number < wanted.number);
                from = before.from;
            }
            let read = Ledger::decode(&ledger.encode()).unwrap();
            prop_assert_eq!(read.as_ref(), Some(&ledger));
        }
    }
}

#[test]
fn fuzz_ledger() {
    let mut ledger = Ledger::begin(asked(1, false));
    ledger.runs(1);
    ledger.ask(asked(2, true)).unwrap();
    ledger
        .take_back(2, Fate::Revoked("it was wrong".to_owned()))
        .unwrap();
    crate::fuzz::run("ledger", vec![ledger.encode().into_bytes()], |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(Some(mut ledger)) = Ledger::decode(&text) {
            let wanted = ledger.wanted().number;
            let _ = ledger.ask(asked(3, false));
            let _ = ledger.take_back(wanted, Fate::Revoked(String::new()));
            assert_eq!(Ledger::decode(&ledger.encode()), Ok(Some(ledger)));
        }
    });
}
