/* Made from DynamoFaultLibrary/nodes/xid.py. XID(code, error, init error, no devices, is sticky) */
XID(13, 719, 0, 0, 1) /* graphics or compute engine exception, usually the application's */
XID(31, 700, 0, 0, 1) /* GPU memory page fault, usually the application's */
XID(43, 702, 0, 0, 1) /* GPU stopped processing: a fault of software, the GPU is healthy */
XID(45, 719, 0, 0, 1) /* pre-emptive clean-up, such as after SIGKILL */
XID(46, 702, 46, 0, 1) /* GPU stopped processing: timeout */
XID(48, 214, 46, 0, 1) /* double-bit (uncorrectable) ECC error */
XID(62, 999, 46, 0, 1) /* internal micro-controller halt */
XID(64, 214, 46, 0, 1) /* row remapping or page retirement failed */
XID(74, 220, 0, 0, 0) /* NVLink error (A100, H100) */
XID(79, 999, 100, 1, 1) /* GPU has fallen off the bus */
XID(94, 214, 0, 0, 1) /* uncorrectable but contained memory error: one application dies */
XID(95, 214, 46, 0, 1) /* uncontained memory error: several applications are hit */
XID(109, 702, 46, 0, 1) /* context switch timeout */
XID(110, 999, 46, 0, 1) /* security fault (H100 and later) */
XID(119, 999, 46, 0, 1) /* GSP firmware RPC timeout */
XID(120, 999, 46, 0, 1) /* GSP firmware error */
XID(136, 220, 46, 0, 0) /* NVLink link training failed (H100) */
XID(140, 214, 46, 0, 1) /* uncorrectable ECC error that escaped remapping */
XID(143, 999, 46, 0, 1) /* GPU initialisation error (H100 and later) */
XID(144, 220, 0, 0, 0) /* NVLink 5 error (SAW) */
XID(145, 220, 0, 0, 0) /* NVLink 5 error (RLW) */
XID(146, 220, 0, 0, 0) /* NVLink 5 error (TLW) */
XID(147, 220, 0, 0, 0) /* NVLink 5 error (TREX) */
XID(149, 220, 0, 0, 0) /* NVLink 5 link down, bit errors */
XID(150, 220, 0, 0, 0) /* NVLink 5 MSE degraded */
