//! The text of `/metrics`: the metrics of the node, and those of its process.

use std::fmt;
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::node::Node;
use tidings_bus::LinkState;
use tidings_metrics::TextFormat;

impl Node {
    /// Returns all metrics in a text format. Reads files of the system, and so blocks.
    ///
    /// # Errors
    ///
    /// Returns an error only if a metric cannot encode itself; none of these fails.
    pub(super) fn scrape(&self, format: TextFormat) -> Result<String, fmt::Error> {
        let (metrics, bus) = (self.metrics(), self.bus.state());
        metrics.ready.set(self.unready().is_empty().into());
        metrics.draining.set(self.is_draining().into());
        metrics.bus_up.set((bus.link == LinkState::Up).into());
        let refused = bus.refused.as_ref().map_or(0, |(workspaces, _)| *workspaces);
        metrics.bus_refused.set(i64::try_from(refused).unwrap_or(i64::MAX));
        metrics.clock_difference.set(bus.clock_difference.unwrap_or(0.0));
        let since = bus.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.bus_since.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        // The bus counts these itself.
        metrics.bus_links.inner().store(bus.links, std::sync::atomic::Ordering::Relaxed);
        metrics.bus_interruptions.inner().store(bus.interruptions, std::sync::atomic::Ordering::Relaxed);
        metrics.encode_with(&process(), format)
    }
}

/// Returns the metrics of this process that Prometheus' client libraries have in common ("Writing
/// client libraries", section "Process metrics"). Those that the system does not report are absent.
fn process() -> Registry {
    let mut registry = Registry::default();
    #[cfg(target_os = "linux")]
    register(&mut registry);
    registry
}

#[cfg(target_os = "linux")]
fn register(registry: &mut Registry) {
    let Ok(process) = procfs::process::Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = (stat.utime + stat.stime) as f64 / ticks;
        add(registry, "process_cpu_seconds", "CPU time of the process in seconds", ConstCounter::new(cpu));
        let virtual_bytes = ConstGauge::new(stat.vsize as f64);
        add(registry, "process_virtual_memory_bytes", "Address space of the process in bytes", virtual_bytes);
        let resident = ConstGauge::new((stat.rss * procfs::page_size()) as f64);
        add(registry, "process_resident_memory_bytes", "Memory of the process in bytes", resident);
        if let Ok(booted) = procfs::boot_time_secs() {
            let started = ConstGauge::new(booted as f64 + stat.starttime as f64 / ticks);
            let help = "Start of the process in seconds since 1970";
            add(registry, "process_start_time_seconds", help, started);
        }
    }
    if let Ok(count) = process.fd_count() {
        add(registry, "process_open_fds", "Open files of the process", ConstGauge::new(count as f64));
    }
    if let Ok(limits) = process.limits()
        && let procfs::process::LimitValue::Value(files) = limits.max_open_files.soft_limit
    {
        add(registry, "process_max_fds", "Files that the process may open", ConstGauge::new(files as f64));
    }
}

#[cfg(target_os = "linux")]
fn add(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: impl EncodeMetric + Send + Sync + fmt::Debug + 'static,
) {
    registry.register(name, help, metric);
}
