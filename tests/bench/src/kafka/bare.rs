//! A consumer that only counts messages: what reading a topic costs at the least.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PARTITIONS;
use super::broker::Broker;

/// Counts messages in a process of its own; prints the seconds of processors that it took.
#[derive(Debug, clap::Args)]
pub(crate) struct Bare {
    brokers: String,
    topic: String,
    /// How many messages there are.
    messages: u64,
}

/// The seconds of processors that counting the messages of a topic takes.
pub(super) fn run(broker: &Broker, topic: &str, messages: u64) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["kafka-bare", &broker.bootstrap(), topic])
        .arg(messages.to_string())
        .output()?;
    let (stdout, stderr) = (output.stdout, output.stderr);
    let stderr = String::from_utf8_lossy(&stderr);
    ensure!(
        output.status.success(),
        "the bare consumer failed: {stderr}"
    );
    let text = String::from_utf8(stdout)?;
    text.trim().parse().context("it prints seconds")
}

pub(crate) fn count(bare: &Bare) -> Result<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &bare.brokers)
        .set("group.id", "bare");
    let consumer: BaseConsumer = config.create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(&bare.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut count = 0;
    while count < bare.messages {
        if let Some(message) = consumer.poll(Duration::from_secs(30)) {
            message?;
            count += 1;
        }
    }
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    println!("{}", spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9);
    Ok(())
}
