//! Real servers that tests and people talk to: Apache Kafka, a Kinesis, an S3 and a DynamoDB, all on this machine.
//! And one that is not real, since none is to be had: [`SchemaRegistryStandIn`].
//!
//! A [`Service`] knows how one kind of server is installed, started and asked whether it is well. [`install`] puts its
//! programs below the target folder, once. A test holds a [`Server`], which ends with the test's process whatever
//! becomes of that; `cargo xtask services` starts servers that outlive it ([`Place::spawn`]).
//!
//! Nothing here needs a container or rights of an administrator, listens beyond this machine, or is downloaded by a
//! test: what is missing is an error that names the command that installs it.

mod dynamodb;
mod guard;
mod http;
mod installation;
mod kafka;
mod kinesis;
mod place;
mod ports;
mod process;
mod s3;
mod schema_registry;
mod server;
mod service;

pub use dynamodb::DynamoDb;
pub use installation::{Installed, install};
pub use kafka::Kafka;
pub use kinesis::Kinesis;
pub use place::Place;
pub use ports::free_ports;
pub use process::{is_running, stop_what_runs};
pub use s3::S3;
pub use schema_registry::{Registration, SchemaRegistryStandIn};
pub use server::Server;
pub use service::{CREDENTIALS, Run, Service};

/// One of each kind, as people want them.
pub fn all() -> Vec<Box<dyn Service>> {
    vec![
        Box::new(Kafka),
        Box::new(Kinesis),
        Box::new(S3::default()),
        Box::new(DynamoDb::in_memory()),
    ]
}
