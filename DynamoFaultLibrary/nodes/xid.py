"""XIDs: what the driver reports when a GPU fails, and what a CUDA process sees of it.

Codes, mnemonics, meanings and actions are those of NVIDIA's XID catalogue
(https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html), mnemonics as in the open driver's ``nverror.h``
(595.45.04).

NVIDIA publishes no table from XIDs to CUDA errors. The errors here are practice, and `_EFFECTS` says whose; a test that
knows better overrides them. Which errors are sticky (the process must end) is told by cuda.h's comments on them.

XID 79 is "GPU has fallen off the bus"; the memory page fault, for which some guides take it, is 31.
"""

from dataclasses import dataclass

NO_DEVICE = 100
DEVICES_UNAVAILABLE = 46
ECC_UNCORRECTABLE = 214
NVLINK_UNCORRECTABLE = 220
ILLEGAL_ADDRESS = 700
LAUNCH_TIMEOUT = 702
LAUNCH_FAILED = 719
UNKNOWN = 999

ERROR_NAMES = {
    NO_DEVICE: "CUDA_ERROR_NO_DEVICE",
    DEVICES_UNAVAILABLE: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    ECC_UNCORRECTABLE: "CUDA_ERROR_ECC_UNCORRECTABLE",
    NVLINK_UNCORRECTABLE: "CUDA_ERROR_NVLINK_UNCORRECTABLE",
    ILLEGAL_ADDRESS: "CUDA_ERROR_ILLEGAL_ADDRESS",
    LAUNCH_TIMEOUT: "CUDA_ERROR_LAUNCH_TIMEOUT",
    LAUNCH_FAILED: "CUDA_ERROR_LAUNCH_FAILED",
    UNKNOWN: "CUDA_ERROR_UNKNOWN",
}
"""Driver's names; the runtime's ``cudaError…`` has the same numbers."""

STICKY = frozenset({214, 226, 700, 702, 709, 710, *range(714, 720), 721, 999})
"""Errors after which each further call of the process fails, until it ends."""


@dataclass(frozen=True)
class CudaEffect:
    """What CUDA calls return. `init_error` is for initialising, enumerating and making contexts; 0: these go on."""

    error: int
    init_error: int = 0
    no_devices: bool = False
    """Whether the device count is 0 then."""

    @property
    def is_sticky(self) -> bool:
        """Whether the process can use the GPU again only after it was started again."""
        return self.error in STICKY


_RESET = DEVICES_UNAVAILABLE
"""What a new process gets from a GPU that waits for its reset."""

_EFFECTS = {
    # field reports
    13: CudaEffect(LAUNCH_FAILED),
    31: CudaEffect(ILLEGAL_ADDRESS),
    45: CudaEffect(LAUNCH_FAILED),
    74: CudaEffect(NVLINK_UNCORRECTABLE),
    79: CudaEffect(UNKNOWN, NO_DEVICE, no_devices=True),
    95: CudaEffect(ECC_UNCORRECTABLE, _RESET),
    109: CudaEffect(LAUNCH_TIMEOUT, _RESET),
    119: CudaEffect(UNKNOWN, _RESET),
    120: CudaEffect(UNKNOWN, _RESET),
    **dict.fromkeys((144, 145, 146, 147, 149, 150), CudaEffect(NVLINK_UNCORRECTABLE)),  # NVLink 5
    # Dynamo's own CUDA shim, and field reports
    43: CudaEffect(LAUNCH_TIMEOUT),
    48: CudaEffect(ECC_UNCORRECTABLE, _RESET),
    94: CudaEffect(ECC_UNCORRECTABLE),
    # the error of XIDs with the same action and a like meaning
    46: CudaEffect(LAUNCH_TIMEOUT, _RESET),
    62: CudaEffect(UNKNOWN, _RESET),
    64: CudaEffect(ECC_UNCORRECTABLE, _RESET),
    110: CudaEffect(UNKNOWN, _RESET),
    136: CudaEffect(NVLINK_UNCORRECTABLE, _RESET),
    140: CudaEffect(ECC_UNCORRECTABLE, _RESET),
    143: CudaEffect(UNKNOWN, _RESET),
}
"""What CUDA calls return after an XID, and who says so; after any other one they go on."""

_FATAL = {
    **dict.fromkeys(("RESET_GPU", "RESTART_BM", "WORKFLOW_XID_48", "WORKFLOW_NVLINK_ERR"), True),
    **dict.fromkeys(("IGNORE", "RESTART_APP", "WORKFLOW_XID_45"), False),
}


@dataclass(frozen=True)
class Xid:
    """One XID of the catalogue."""

    code: int
    mnemonic: str
    meaning: str
    action: str

    @property
    def fatal(self) -> bool | None:
        """What NVSentinel's syslog monitor makes of the action, as of August 2026; None: the message's text decides."""
        return _FATAL.get(self.action)

    @property
    def cuda(self) -> CudaEffect | None:
        """What CUDA calls return; None where a process sees nothing."""
        return _EFFECTS.get(self.code)

    def __str__(self) -> str:
        return f"XID {self.code} ({self.meaning})"


_ALL = (
    Xid(
        13,
        "ROBUST_CHANNEL_GR_EXCEPTION",
        "graphics or compute engine exception, usually the application's",
        "RESTART_APP",
    ),
    Xid(14, "ROBUST_CHANNEL_FAKE_ERROR", "fake error, injected from user space", "IGNORE"),
    Xid(31, "ROBUST_CHANNEL_FIFO_ERROR_MMU_ERR_FLT", "GPU memory page fault, usually the application's", "RESTART_APP"),
    Xid(
        43,
        "ROBUST_CHANNEL_RESETCHANNEL_VERIF_ERROR",
        "GPU stopped processing: a fault of software, the GPU is healthy",
        "IGNORE",
    ),
    Xid(45, "ROBUST_CHANNEL_PREEMPTIVE_REMOVAL", "pre-emptive clean-up, such as after SIGKILL", "WORKFLOW_XID_45"),
    Xid(46, "ROBUST_CHANNEL_GPU_TIMEOUT_ERROR", "GPU stopped processing: timeout", "RESET_GPU"),
    Xid(48, "ROBUST_CHANNEL_GPU_ECC_DBE", "double-bit (uncorrectable) ECC error", "WORKFLOW_XID_48"),
    Xid(62, "PMU_HALT_ERROR", "internal micro-controller halt", "RESET_GPU"),
    Xid(63, "INFOROM_DRAM_RETIREMENT_EVENT", "row remapping or page retirement recorded", "IGNORE"),
    Xid(64, "INFOROM_DRAM_RETIREMENT_FAILURE", "row remapping or page retirement failed", "RESET_GPU"),
    Xid(74, "NVLINK_ERROR", "NVLink error (A100, H100)", "WORKFLOW_NVLINK_ERR"),
    Xid(79, "ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF_THE_BUS", "GPU has fallen off the bus", "RESTART_BM"),
    Xid(92, "EXCESSIVE_SBE_INTERRUPTS", "high rate of single-bit ECC errors", "IGNORE"),
    Xid(
        94,
        "ROBUST_CHANNEL_CONTAINED_ERROR",
        "uncorrectable but contained memory error: one application dies",
        "RESTART_APP",
    ),
    Xid(95, "ROBUST_CHANNEL_UNCONTAINED_ERROR", "uncontained memory error: several applications are hit", "RESET_GPU"),
    Xid(109, "ROBUST_CHANNEL_CTXSW_TIMEOUT_ERROR", "context switch timeout", "RESET_GPU"),
    Xid(110, "SEC_FAULT_ERROR", "security fault (H100 and later)", "RESET_GPU"),
    Xid(119, "GSP_RPC_TIMEOUT", "GSP firmware RPC timeout", "RESET_GPU"),
    Xid(120, "GSP_ERROR", "GSP firmware error", "RESET_GPU"),
    Xid(121, "C2C_ERROR", "corrected error on the Grace C2C link", "IGNORE"),
    Xid(136, "ALI_TRAINING_FAIL", "NVLink link training failed (H100)", "RESET_GPU"),
    Xid(140, "UNRECOVERABLE_ECC_ERROR_ESCAPE", "uncorrectable ECC error that escaped remapping", "RESET_GPU"),
    Xid(143, "GPU_INIT_ERROR", "GPU initialisation error (H100 and later)", "RESET_GPU"),
    Xid(144, "NVLINK_SAW_ERROR", "NVLink 5 error (SAW)", "by decode table"),
    Xid(145, "NVLINK_RLW_ERROR", "NVLink 5 error (RLW)", "by decode table"),
    Xid(146, "NVLINK_TLW_ERROR", "NVLink 5 error (TLW)", "by decode table"),
    Xid(147, "NVLINK_TREX_ERROR", "NVLink 5 error (TREX)", "by decode table"),
    Xid(148, "NVLINK_NVLPW_CTRL_ERROR", "NVLink 5 error (NVLPW)", "IGNORE"),
    Xid(149, "NVLINK_NETIR_ERROR", "NVLink 5 link down, bit errors", "by decode table"),
    Xid(150, "NVLINK_MSE_ERROR", "NVLink 5 MSE degraded", "RESET_GPU"),
    Xid(154, "GPU_RECOVERY_ACTION_CHANGED", "tells which recovery is needed", "by its text"),
)

XIDS = {xid.code: xid for xid in _ALL}
"""The catalogue by code."""


def c_table() -> str:
    """The CUDA effects as the shim includes them: ``cuda_shim/src/xid_table.h`` is this text.

    Make it anew with ``python -m DynamoFaultLibrary.nodes.xid > cuda_shim/src/xid_table.h``.
    """
    lines = ["/* Made from DynamoFaultLibrary/nodes/xid.py. XID(code, error, init error, no devices, is sticky) */"]
    for xid in _ALL:
        if xid.cuda is not None:
            values = [xid.code, xid.cuda.error, xid.cuda.init_error, int(xid.cuda.no_devices), int(xid.cuda.is_sticky)]
            lines.append(f"XID({', '.join(map(str, values))}) /* {xid.meaning} */")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(c_table(), end="")
