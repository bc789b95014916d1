//! Whether features are served here, as health checks of gRPC ask: of the process as a whole, and of the service by its
//! name. They are not from when the process is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::interval;
use tonic::server::NamedService as _;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::health_reporter;

use super::Service;
use super::v1::features_server::FeaturesServer;

/// How often it is looked whether the process is asked to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// The service of health checks, which hears of `stopping` on the runtime of `io`.
pub(super) fn health(io: &Handle, stopping: Arc<AtomicBool>) -> HealthServer<impl Health> {
    let (reporter, health) = health_reporter();
    let services = ["", FeaturesServer::<Service>::NAME];
    io.block_on(async {
        for service in services {
            let status = ServingStatus::Serving;
            reporter.set_service_status(service, status).await;
        }
    });
    io.spawn(async move {
        let mut glances = interval(GLANCE);
        while !stopping.load(Ordering::Relaxed) {
            glances.tick().await;
        }
        for service in services {
            let status = ServingStatus::NotServing;
            reporter.set_service_status(service, status).await;
        }
    });
    health
}
