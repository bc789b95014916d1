//! Several members of one group: who reads what, and what they hear of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use penstock::source::kafka::FaultKind;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustix::process::{Pid, Signal, kill_process};

use super::member::{Cursors, Member, all_until, numbers, settings};
use crate::support::servers::kafka::{LIMIT, SHARED, Writer, create, grow};

#[test]
fn members_share_partitions_and_each_message_is_read_once() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-members");
    create(&bootstrap, topic, 4);
    let writer = Writer::new(&bootstrap, topic);
    let write = || (0..4).for_each(|partition| writer.write(partition, numbers(500)));
    let (settings, cursors) = (settings(&bootstrap, topic, &[]), Cursors::default());
    write();
    let mut first = Member::join(&settings, &cursors);
    first.until("it reads alone", |it| it.count() == 2000);

    let mut second = Member::join(&settings, &cursors);
    let fair = |members: &[&mut Member]| {
        members.iter().all(|it| {
            it.owned.len() == 2 && it.owned.iter().all(|it2| it.started.contains_key(it2))
        })
    };
    all_until(&mut [&mut first, &mut second], "they share", fair);
    // Cooperative: what stayed was not touched, and what went was read on at its cursor.
    assert!(
        second.started.values().all(|offset| *offset == 500),
        "{:?}",
        second.started
    );
    assert!(first.started.values().all(|offset| *offset == 0));
    write();
    let all = |members: &[&mut Member]| members.iter().map(|it| it.count()).sum::<usize>() == 4000;
    all_until(&mut [&mut first, &mut second], "both read", all);
    assert_eq!(second.count(), 1000);

    assert!(first.told.is_empty() && second.told.is_empty());
    let seen = first.seen.clone();
    first.leave();
    second.until("it has all", |it| {
        it.owned.len() == 4 && it.started.len() == 4
    });
    write();
    second.until("it reads alone", |it| it.count() == 1000 + 2000);
    for partition in 0..4 {
        let mut offsets: Vec<i64> = Vec::new();
        let parts = [seen.get(&partition), second.seen.get(&partition)];
        for part in parts.into_iter().flatten() {
            offsets.extend(part.iter().map(|(offset, _)| *offset));
        }
        assert_eq!(
            offsets,
            (0..1500).collect::<Vec<i64>>(),
            "partition {partition}"
        );
    }
    second.leave();
}

#[test]
fn what_is_not_given_up_is_taken() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-stubborn");
    create(&bootstrap, topic, 2);
    let settings = settings(&bootstrap, topic, &[("max.poll.interval.ms", "6000")]);
    let cursors = Cursors::default();
    let mut first = Member::join(&settings, &cursors);
    first.until("it has both", |it| it.started.len() == 2);
    first.stubborn = true;
    let mut second = Member::join(&settings, &cursors);
    let taken = |members: &[&mut Member]| members[1].started.len() == 1;
    all_until(&mut [&mut first, &mut second], "one is taken", taken);
    // The other one is not disturbed.
    let gone = second.owned.first().unwrap();
    let told = [format!("revoked [{gone}]"), format!("lost [{gone}]")];
    assert_eq!(first.told, told);
    assert_eq!(first.owned.len(), 1);
    first.leave();
    second.leave();
}

#[test]
fn offsets_are_told_to_kafka_for_tools_that_show_lag() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-lag");
    create(&bootstrap, topic, 1);
    Writer::new(&bootstrap, topic).write(0, numbers(10));
    let mut member = Member::join(&settings(&bootstrap, topic, &[]), &Cursors::default());
    member.until("all have come", |it| it.count() == 10);
    member.source.commit(0, 7);
    // No tool must be believed: the offset of the group says 7, and the cursor nothing.
    assert!(member.source.leave(LIMIT));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &bootstrap)
        .set("group.id", topic);
    let tool: BaseConsumer = config.create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let committed = tool.committed_offsets(asked, LIMIT).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(7));
    let mut member = Member::join(&settings(&bootstrap, topic, &[]), &Cursors::default());
    member.until("all have come again", |it| it.count() == 10);
    member.leave();
}

#[test]
fn partitions_that_are_added_are_told_and_read_whole() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-growing");
    create(&bootstrap, topic, 1);
    let writer = Writer::new(&bootstrap, topic);
    writer.write(0, ["before"]);
    let settings = settings(&bootstrap, topic, &[("start", "latest")]);
    let mut member = Member::join(&settings, &Cursors::default());
    assert_eq!(member.source.partitions(), 1);
    member.until("it has started", |it| it.started.contains_key(&0));
    grow(&bootstrap, topic, 3);
    // A new writer, for one that knows the topic learns of the growth late.
    Writer::new(&bootstrap, topic).write(2, ["first of its partition"]);
    member.until("the new ones are ours", |it| {
        it.owned.len() == 3 && it.count() == 1
    });
    assert_eq!(member.started[&2], 0);
    member.until("it was told", |it| {
        it.was_told("Grown { before: 1, after: 3 }")
    });
    member.leave();
}

#[test]
fn a_second_process_of_one_instance_fences_the_first() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-instances");
    create(&bootstrap, topic, 1);
    let settings = settings(&bootstrap, topic, &[("instance", "host-1")]);
    let cursors = Cursors::default();
    let mut first = Member::join(&settings, &cursors);
    first.until("it has started", |it| it.started.contains_key(&0));
    let mut second = Member::join(&settings, &cursors);
    let fenced = |members: &[&mut Member]| {
        members[0].failed.is_some() && members[1].started.contains_key(&0)
    };
    all_until(
        &mut [&mut first, &mut second],
        "the first is fenced",
        fenced,
    );
    let fault = first.failed.take().unwrap();
    assert_eq!(fault.kind, FaultKind::Fenced);
    assert!(
        fault
            .to_string()
            .contains("another process reads as `instance` \"host-1\""),
        "{fault}"
    );
    assert_eq!(first.told, ["lost [0]"]);
    assert!(first.source.leave(LIMIT));
    second.leave();
}

#[test]
fn an_instance_that_comes_back_keeps_its_partitions() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-static");
    create(&bootstrap, topic, 4);
    let cursors = Cursors::default();
    let join = |instance: &str| {
        Member::join(
            &settings(
                &bootstrap,
                topic,
                &[("instance", instance), ("session.timeout.ms", "60000")],
            ),
            &cursors,
        )
    };
    let (mut first, mut second) = (join("host-1"), join("host-2"));
    let shared = |members: &[&mut Member]| members.iter().all(|it| it.owned.len() == 2);
    all_until(&mut [&mut first, &mut second], "they share", shared);
    let owned = second.owned.clone();
    let kept = first.owned.clone();
    second.leave();
    let mut second = join("host-2");
    all_until(&mut [&mut first, &mut second], "they share again", shared);
    assert_eq!((&second.owned, &first.owned), (&owned, &kept));
    assert!(first.told.is_empty(), "{:?}", first.told);
    first.leave();
    second.leave();
}

/// What tells [`a_process_of_its_own`] that it is one, and where its broker is.
const AS_PROCESS: &str = "PENSTOCK_TEST_KAFKA_MEMBER";
const FREEZING: &str = "kafka-freezing";

/// No test, but a member in a process that can be frozen.
#[test]
fn a_process_of_its_own() {
    let Ok(bootstrap) = std::env::var(AS_PROCESS) else {
        return;
    };
    let mut member = Member::join(&settings(&bootstrap, FREEZING, &[]), &Cursors::default());
    let mut say = std::io::stderr();
    member.until("it has started", |it| it.started.contains_key(&0));
    writeln!(say, "started").unwrap();
    member.until("it hears of its loss", |it| it.was_told("lost"));
    writeln!(say, "{}", member.told.join("; ")).unwrap();
    // The other one has it, and keeps it.
    assert!(member.source.leave(LIMIT));
    writeln!(say, "left").unwrap();
}

struct Frozen(Child);

impl Frozen {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_frozen_member_hears_that_it_lost_its_partitions() {
    let bootstrap = SHARED.bootstrap();
    create(&bootstrap, FREEZING, 1);
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kafka::group::a_process_of_its_own",
            "--nocapture",
        ])
        .env(AS_PROCESS, &bootstrap)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Frozen(child);
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let mut hear = |wanted: &str| {
        let found = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find(|line| line.contains(wanted));
        found.unwrap_or_else(|| panic!("it ended before it said `{wanted}`"))
    };
    hear("started");
    child.signal(Signal::STOP);
    let mut other = Member::join(&settings(&bootstrap, FREEZING, &[]), &Cursors::default());
    other.until("the frozen one is given up", |it| {
        it.started.contains_key(&0)
    });
    child.signal(Signal::CONT);
    // It learns that by itself. Meanwhile the group divides anew, which needs the other one too.
    let (sender, ended) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let said = hear("lost");
            hear("left");
            sender.send(said).unwrap();
        });
        let mut said = None;
        while said.is_none() {
            other.step();
            said = ended.try_recv().ok();
        }
        assert_eq!(said.unwrap(), "lost [0]");
    });
    other.until("it reads alone", |it| it.owned == BTreeSet::from([0]));
    other.leave();
}
