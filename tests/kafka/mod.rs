//! The Kafka source and sink against a real broker: what is read, by whom, and when; what is
//! published, once.

mod broker;
mod consume;
mod faults;
mod group;
mod member;
mod publish;
mod refused;
