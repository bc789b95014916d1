//! A rider's session in the app: how often they searched, for how long, and whether it ended in a
//! booking.
//!
//! A window gives its bounds to `finish`, but a session's end is its last event *and the gap after
//! it*. So the event time is read as a column like any other, and its least and greatest value are
//! remembered.

use penstock_sdk::prelude::*;

/// Something that a rider did.
#[derive(Row)]
pub struct Action<'a> {
    at: Timestamp,
    action: &'a str,
}

/// What is remembered of a session.
///
/// Rows come in the order in which they arrived, which is not that of their times: so nothing here
/// may say "the last row". All of it is sums, a least and a greatest, for which order is nothing.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Session {
    searches: u64,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    /// Whether any of the actions at `last_at` is a booking.
    booked_last: bool,
}

/// The rider's features.
#[derive(Output, Debug, PartialEq)]
pub struct Searching {
    searches: u64,
    duration_s: f64,
    ended_in_booking: bool,
}

/// The transform.
#[derive(Default)]
pub struct SearchSessions;

impl Session {
    /// The session that has what both of them have.
    fn and(self, other: Self) -> Self {
        let (last_at, booked_last) = match self.last_at.cmp(&other.last_at) {
            std::cmp::Ordering::Less => (other.last_at, other.booked_last),
            std::cmp::Ordering::Equal => (self.last_at, self.booked_last || other.booked_last),
            std::cmp::Ordering::Greater => (self.last_at, self.booked_last),
        };
        Self {
            searches: self.searches + other.searches,
            first_at: match (self.first_at, other.first_at) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            last_at,
            booked_last,
        }
    }
}

impl Window for SearchSessions {
    type Row<'a> = Action<'a>;
    type State = Session;
    type Output = Option<Searching>;

    fn accumulate(&self, session: &mut Session, action: Action<'_>) -> Result<(), Reject> {
        let Action { at, action } = action;
        if !["search", "view", "booking"].contains(&action) {
            return Err(Reject::new("unknown-action", action));
        }
        let alone = Session {
            searches: u64::from(action == "search"),
            first_at: Some(at),
            last_at: Some(at),
            booked_last: action == "booking",
        };
        *session = std::mem::take(session).and(alone);
        Ok(())
    }

    fn merge(&self, earlier: Session, later: Session) -> Session {
        earlier.and(later)
    }

    fn finish(&self, session: &Session, _bounds: Bounds) -> Option<Searching> {
        let (first, last) = session.first_at.zip(session.last_at)?;
        Some(Searching {
            searches: session.searches,
            duration_s: (last.value() - first.value()) as f64 / Microsecond::PER_SECOND as f64,
            ended_in_booking: session.booked_last,
        })
    }
}

export_window!(SearchSessions);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::Native;

    use super::*;

    fn action(second: i64, action: &str) -> Action<'_> {
        Action {
            at: Timestamp::new(second * 1_000_000),
            action,
        }
    }

    fn window() -> Native<SearchSessions> {
        Native::open("{}").unwrap()
    }

    fn finished(actions: &[(i64, &str)]) -> Searching {
        let mut window = window();
        window.accumulate(actions.iter().map(|(at, name)| action(*at, name)));
        window.finish().remove(0)
    }

    #[test]
    fn a_session_lasts_from_its_first_action_to_its_last() {
        let expected = Searching {
            searches: 2,
            duration_s: 95.0,
            ended_in_booking: true,
        };
        let actions = [
            (5, "search"),
            (60, "view"),
            (70, "search"),
            (100, "booking"),
        ];
        assert_eq!(finished(&actions), expected);
        // The order of arrival is nothing.
        let mut reversed = actions;
        reversed.reverse();
        assert_eq!(finished(&reversed), expected);
    }

    #[test]
    fn a_booking_in_the_middle_does_not_end_it() {
        assert!(!finished(&[(0, "search"), (1, "booking"), (2, "view")]).ended_in_booking);
        assert!(finished(&[(2, "booking"), (2, "view")]).ended_in_booking);
        assert!(finished(&[(2, "view"), (2, "booking")]).ended_in_booking);
    }

    #[test]
    fn one_action_lasts_no_time() {
        let expected = Searching {
            searches: 0,
            duration_s: 0.0,
            ended_in_booking: false,
        };
        assert_eq!(finished(&[(7, "view")]), expected);
    }

    #[test]
    fn an_action_that_nobody_knows_is_rejected() {
        let mut window = window();
        let rejects = window.accumulate([action(0, "search"), action(900, "purchase")]);
        assert_eq!(rejects.len(), 1);
        assert_eq!((rejects[0].row, &*rejects[0].code), (1, "unknown-action"));
        assert_eq!(rejects[0].detail, "purchase");
        assert_eq!(window.finish()[0].duration_s, 0.0);
    }

    /// States of one action each.
    fn states() -> Vec<Session> {
        let actions = [(3, "view"), (1, "search"), (3, "booking"), (2, "search")];
        let state = |(at, name): (i64, &str)| {
            let mut session = Session::default();
            let accumulated = SearchSessions.accumulate(&mut session, action(at, name));
            accumulated.unwrap();
            session
        };
        actions.map(state).to_vec()
    }

    #[test]
    fn merging_is_associative_and_the_default_changes_nothing() {
        let states = states();
        let merge = |a: &Session, b: &Session| SearchSessions.merge(a.clone(), b.clone());
        for a in &states {
            assert_eq!(&merge(a, &Session::default()), a);
            assert_eq!(&merge(&Session::default(), a), a);
            for b in &states {
                for c in &states {
                    assert_eq!(merge(&merge(a, b), c), merge(a, &merge(b, c)));
                }
            }
        }
    }
}
