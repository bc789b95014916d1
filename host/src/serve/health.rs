//! Whether the process is alive, and whether its pipelines are at work.
//!
//! *Alive* is what a restart would mend: a part that works on one thing for longer than anything may take. A part that
//! waits for a broker or a store is alive, and so is a pipeline that lags. *Ready* is what an operator wants to know
//! before the next host is restarted.

use std::time::Duration;

use crate::pipeline::telemetry::{Doing, Telemetry};

/// A part that has worked on one thing for so long is stuck: a call of a transform is ended long before.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The reasons why the process should be restarted; none if it should not.
pub(super) fn stuck(telemetry: &Telemetry) -> Vec<String> {
    let mut reasons = Vec::new();
    for (name, pipeline) in telemetry.pipelines() {
        for (part, doing, since) in pipeline.parts() {
            if doing == Doing::Working && since >= STUCK_AFTER {
                let since = since.as_secs();
                reasons.push(format!(
                    "pipeline {name}: its {part} has worked on one thing for {since} s"
                ));
            }
        }
    }
    reasons
}

/// The reasons why not every pipeline is at work; none if all are. `stopping`: somebody asked the process to stop.
pub(super) fn not_ready(telemetry: &Telemetry, stopping: bool) -> Vec<String> {
    if stopping {
        return vec!["the process is stopping".into()];
    }
    let pipelines = telemetry.pipelines();
    if pipelines.is_empty() {
        return vec!["the process is starting".into()];
    }
    let reasons = pipelines.iter().filter_map(|(name, pipeline)| {
        let reason = pipeline.state().not_ready()?;
        Some(format!("pipeline {name}: {reason}"))
    });
    reasons.chain(stuck(telemetry)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::pipeline::telemetry::PipelineState;
    use crate::pipeline::telemetry::by_hand::ByHand;

    #[test]
    fn only_a_part_that_works_for_too_long_is_stuck() {
        let clock = Arc::new(ByHand::default());
        let telemetry = Telemetry::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let pipeline = telemetry.pipeline("p");
        let waits = pipeline.reader("", telemetry.clock());
        let rests = pipeline.lane(0, None, telemetry.clock());
        let ended = pipeline.lane(1, None, telemetry.clock());
        let works = pipeline.lane(2, None, telemetry.clock());
        waits.heartbeat.wait();
        rests.heartbeat.rest();
        ended.heartbeat.end();
        works.heartbeat.work();
        clock.pass(STUCK_AFTER - Duration::from_millis(1));
        assert_eq!(stuck(&telemetry), [""; 0]);
        clock.pass(Duration::from_millis(1));
        let reason = "pipeline p: its lane 2 has worked on one thing for 120 s";
        assert_eq!(stuck(&telemetry), [reason]);
        pipeline.set_state(PipelineState::Running);
        assert_eq!(not_ready(&telemetry, false), [reason]);
        works.heartbeat.work();
        assert_eq!(stuck(&telemetry), [""; 0]);
    }

    #[test]
    fn ready_is_when_every_pipeline_is_at_work() {
        let telemetry = Telemetry::new(Arc::new(ByHand::default()));
        assert_eq!(not_ready(&telemetry, false), ["the process is starting"]);
        let (a, b) = (telemetry.pipeline("a"), telemetry.pipeline("b"));
        a.set_state(PipelineState::CatchingUp);
        assert_eq!(not_ready(&telemetry, false), ["pipeline b: it is starting"]);
        b.set_state(PipelineState::Failed("the disk is full".into()));
        assert_eq!(
            not_ready(&telemetry, false),
            ["pipeline b: it failed: the disk is full"]
        );
        b.set_state(PipelineState::Running);
        a.set_state(PipelineState::Finished);
        assert_eq!(not_ready(&telemetry, false), [""; 0]);
        assert_eq!(not_ready(&telemetry, true), ["the process is stopping"]);
    }
}
