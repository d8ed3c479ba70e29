"""What a dry run shows of a job beside its script: commands, what is set later, decisions."""

from collections.abc import Iterator

from llmtrain.config.sizes import storage_text
from llmtrain.launchers import containers
from llmtrain.launchers.launch import Command, Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers.slurm_cache import why_not
from llmtrain.launchers.schedulers.slurm_header import cpus_per_task, tasks_per_node
from llmtrain.launchers.schedulers.slurm_srun import step_options
from llmtrain.launchers.schedulers.slurm_step import launcher
from llmtrain.launchers.schedulers.slurm_time import lead_reason, lead_seconds
from llmtrain.launchers.screening import is_watched
from llmtrain.launchers.traffic import edges
from llmtrain.planner.plan import Plan


def commands(plan: Plan, program: Program) -> tuple[Command, ...]:
    """From the batch script to a rank."""
    per_node, world = plan.ranks_per_node, plan.nodes * plan.ranks_per_node
    tasks, inside = tasks_per_node(plan), plan.recipe.site.container.runtime
    where = "once, by the batch script" + (f", in {inside}" if inside != "none" else "")
    cpus = () if cpus_per_task(plan) else (f"--cpus-per-task=$SLURM_CPUS_ON_NODE/{tasks}",)
    step = Command(where=where, words=("srun", *step_options(plan), *cpus, "bash", "task.sh"))
    task = launcher(plan, wrapper=True)
    if tasks == 1:
        where = f"task n of {plan.nodes}, on node n, starts ranks {per_node}n to {per_node}n+"
        agent = Command(where=f"{where}{per_node - 1}", words=(*task, "…"))
    else:
        agent = Command(where=f"task r of {world} is rank r", words=(*task, "…"))
    where = f"rank r of {world}, on node r ÷ {per_node}, with GPU r mod {per_node}"
    rank = Command(where=where, words=("$LLMTRAIN_PYTHON", *program.command))
    return (step, agent, rank)


def later(plan: Plan, program: Program) -> tuple[Variable, ...]:
    """What the job itself finds out."""
    return tuple(
        Variable(name=name, value=value, source=source, reason=reason)
        for name, value, source, reason in _later(plan, program)
    )


def _later(plan: Plan, program: Program) -> Iterator[tuple[str, str, str, str]]:
    site = plan.recipe.site
    script = "job.sbatch"
    ranks = "rank.sh" if site.launch == "srun" else site.launch
    yield "LLMTRAIN_PYTHON", "the interpreter", script, "the same one for probe, launcher and ranks"
    yield "LLMTRAIN_RUN", "the run's folder", script, "the ranks' working directory"
    address = f"first node{site.slurm.host_suffix and ' + ' + site.slurm.host_suffix}"
    yield "MASTER_ADDR", address, script, "where the ranks meet; has to be an address of a network"
    port = "from the job's number, below or above the ephemeral ports"
    yield "MASTER_PORT", port, script, "a port that nobody else is given"
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        value = "by the order of nodes" if name == "RANK" else "by the plan"
        yield name, value, ranks, "what torch.distributed reads"
    if is_watched(plan.recipe, plan.nodes):
        reason = "first rank of each node: how it sends is looked at; logs/NODE/nccl-LIFE.log"
        yield "NCCL_DEBUG", "INFO", "rank.sh", reason
    if site.container.runtime != "none" and containers.is_ours(program):
        yield "PYTHONPATH", containers.INSIDE, script, "where llmtrain is mounted"
    for name in site.secrets.names:
        yield name, "<secret>", site.secrets.file, "`site.secrets.names`"


def notes(plan: Plan, program: Program, provenance: Provenance) -> Iterator[str]:
    """How programs reach the nodes, and when the ranks are told of the time limit."""
    site = plan.recipe.site
    mounted = containers.mounts(plan.recipe, program, provenance)
    inside = site.container.runtime != "none"
    python = site.python or ("python of the image" if inside else provenance.python)
    if inside:
        yield f"image: {site.container.image}, by {site.container.runtime}"
    copied = f", its environment copied to {site.nvme} of each node"
    yield f"interpreter: {python}{copied if site.software == 'sbcast' else ''}"
    if containers.is_ours(program):
        place = f"mounted at {containers.INSIDE}" if inside else "read where it is installed"
        yield f"llmtrain: {provenance.package or 'the installed one'}, {place}"
    checkout = containers.checkout(plan.recipe, mounted)
    if checkout:
        yield f"checkout: {checkout}"
    if site.secrets.names:
        yield f"secrets: {', '.join(site.secrets.names)} from {site.secrets.file}"
    crossing = [f"{edge.axis} {storage_text(edge.edge_bytes)}" for edge in edges(plan)]
    if crossing:
        yield f"each node sends its neighbours {', '.join(crossing)} a step; {_order(plan)}"
    if site.preflight.policy != "off":
        asked = site.preflight
        yield f"preflight of every node: {asked.depth}; {asked.policy} where one is not fit"
    if is_watched(plan.recipe, plan.nodes):
        way = plan.recipe.cluster.network.kind
        yield f"if NCCL does not send by {way}: {site.preflight.policy}, read from its log"
    if site.cpu_partition:
        reason = why_not(plan.recipe)
        where = f"on {site.cpu_partition}, if it is not there: cache.sbatch"
        yield f"the index of the data: {f'by the ranks, {reason}' if reason else where}"
    yield f"the ranks are told {lead_seconds(plan)} s before the end: {lead_reason(plan)}"


def _order(plan: Plan) -> str:
    slurm = plan.recipe.site.slurm
    if slurm.rank_order == "slurm" or slurm.groups:
        return "the order of nodes is Slurm's"
    return "nodes of one switch get neighbouring ranks, and the job logs the bytes it saves"


def warnings(plan: Plan) -> Iterator[str]:
    """What a user should know before this waits in a queue."""
    site = plan.recipe.site
    if site.time_limit is None:
        yield "no `site.time_limit`: the partition's default ends the job"
    image = site.container.image
    if image and site.container.runtime != "none" and not containers.by_digest(image):
        yield f"the image {image} has no digest: it may be another one tomorrow"
