//! A broker that goes away and comes back.

use penstock_servers::Kafka;

use super::member::{Cursors, Member, numbers, settings};
use crate::support::servers::kafka::{Writer, create};
use crate::support::servers::start;

#[test]
fn a_broker_that_stops_is_told_and_waited_for() {
    let mut kafka = start(Kafka);
    let (bootstrap, topic) = (kafka.bootstrap(), "kafka-stops");
    create(&bootstrap, topic, 1);
    Writer::new(&bootstrap, topic).write(0, numbers(10));
    let cursors = Cursors::default();
    let mut member = Member::join(&settings(&bootstrap, topic, &[]), &cursors);
    member.until("all have come", |it| {
        it.count() == 10 && it.ended.contains(&0)
    });
    member.commit(0);
    kafka.stop().unwrap();
    member.until("it says so", |it| it.was_told("Unreachable"));
    kafka.start_again().unwrap();
    member.until("it says so again", |it| it.was_told("Reachable"));
    Writer::new(&bootstrap, topic).write(0, numbers(10));
    member.until("the rest has come", |it| it.count() >= 20);
    let offsets: Vec<i64> = member.seen[&0].iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<i64>>());
    member.leave();
}

#[test]
fn a_broker_that_stands_still_makes_nobody_idle() {
    let kafka = start(Kafka);
    let (bootstrap, topic) = (kafka.bootstrap(), "kafka-freezes");
    create(&bootstrap, topic, 1);
    let writer = Writer::new(&bootstrap, topic);
    writer.write(0, numbers(1));
    let settings = settings(&bootstrap, topic, &[("session.timeout.ms", "60000")]);
    let mut member = Member::join(&settings, &Cursors::default());
    member.until("its end is known", |it| it.ended.contains(&0));
    kafka.freeze().unwrap();
    // Once the silence is noticed, what was known does not get newer: three statistics are equal.
    let mut same = 0;
    let mut last = None;
    let mut looks = 0;
    while same < 3 {
        // The tick of statistics is a second; the steps below are fifty of its parts.
        (0..60).for_each(|_| member.step());
        let at_end = member.status(0).unwrap().at_end;
        same = if at_end == last { same + 1 } else { 0 };
        last = at_end;
        looks += 1;
        assert!(
            looks < 60,
            "a broker that stands still is believed to have nothing"
        );
    }
    assert!(member.ended.contains(&0));
    kafka.thaw().unwrap();
    member.until("it is confirmed again", |it| {
        it.status(0).unwrap().at_end > last
    });
    writer.write(0, ["one"]);
    member.until("it reads on", |it| it.count() == 2);
    member.leave();
}
