/* One trampoline for each exported CUDA symbol, and a pool for pointers that were looked up.
 *
 * When nothing is to be faulted a trampoline is one test of a byte and one jump; it touches no argument register, so it
 * fits any signature. Otherwise it goes to shim_slow with its number, which saves what may hold arguments, asks
 * shim_decide, and either returns the error or goes on to the real function as if nothing had been in between.
 *
 * shim_reals[n] is the function that trampoline n stands for. Until that is known it is the trampoline's own slow half.
 */
#include "shim.h"

    .altmacro
    .set slot, 0

#if defined(__x86_64__)

    .macro BODY number
    endbr64
    cmpb $0, shim_hot(%rip)
    jne .Lslow\number
    jmp *shim_reals + 8*\number(%rip)
.Lslow\number:
    movl $\number, %r11d
    jmp shim_slow
    .endm

#else

    .macro BODY number
    bti c
    adrp x16, shim_hot
    ldrb w16, [x16, :lo12:shim_hot]
    cbnz w16, .Lslow\number
    adrp x16, shim_reals + 8*\number
    ldr x16, [x16, :lo12:shim_reals + 8*\number]
    br x16
.Lslow\number:
    movz w17, #\number
    b shim_slow
    .endm

#endif

    .macro EXPORTED name, number
    .globl \name
    .type \name, %function
    .balign SHIM_STRIDE
\name:
    BODY \number
    .size \name, . - \name
    .endm

    .macro UNNAMED number
    .balign SHIM_STRIDE
    BODY \number
    .endm

    .macro INITIAL number
    .quad .Lslow\number
    .endm

#if defined(__aarch64__)
    .arch armv8.5-a
#endif
    .text
    .balign SHIM_STRIDE
    .globl shim_trampolines
    .hidden shim_trampolines
shim_trampolines:
#define CALL(name, class, device) EXPORTED name, %slot; .set slot, slot + 1;
#include "entries.def"
#undef CALL
    .set exported, slot
    .rept SHIM_LOOKED_UP
    UNNAMED %slot
    .set slot, slot + 1
    .endr

    .section .data.rel, "aw"
    .balign 8
    .globl shim_reals
    .hidden shim_reals
shim_reals:
    .set slot, 0
    .rept exported + SHIM_LOOKED_UP
    INITIAL %slot
    .set slot, slot + 1
    .endr

    .text
    .balign 16
    .type shim_slow, %function
    .type dlsym, %function
    .type dlvsym, %function
    .globl dlsym, dlvsym

#if defined(__x86_64__)

/* r11d is the number of the trampoline. struct frame lies at rsp, what vectors may hold of arguments behind it. */
shim_slow:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    subq $336, %rsp
    movq %rdi, 0(%rsp)
    movq %rsi, 8(%rsp)
    movq %rdx, 16(%rsp)
    movq %rcx, 24(%rsp)
    movq %r8, 32(%rsp)
    movq %r9, 40(%rsp)
    movq %rax, 48(%rsp)
    movq %r10, 56(%rsp)
    cmpb $0, shim_has_avx(%rip)
    je 1f
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    vmovups %ymm\n, 80 + 32*\n(%rsp)
    .endr
    jmp 2f
1:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    movups %xmm\n, 80 + 32*\n(%rsp)
    .endr
2:
    movl %r11d, %edi
    movq %rsp, %rsi
    call shim_decide
    movq %rax, %r11
    cmpb $0, shim_has_avx(%rip)
    je 3f
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    vmovups 80 + 32*\n(%rsp), %ymm\n
    .endr
    jmp 4f
3:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    movups 80 + 32*\n(%rsp), %xmm\n
    .endr
4:
    btq $32, %r11
    jc 5f
    movq 0(%rsp), %rdi
    movq 8(%rsp), %rsi
    movq 16(%rsp), %rdx
    movq 24(%rsp), %rcx
    movq 32(%rsp), %r8
    movq 40(%rsp), %r9
    movq 48(%rsp), %rax
    movq 56(%rsp), %r10
    movq 64(%rsp), %r11
    .cfi_remember_state
    leave
    .cfi_def_cfa %rsp, 8
    jmp *%r11
    .cfi_restore_state
5:
    movl %r11d, %eax
    leave
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size shim_slow, . - shim_slow

/* dlsym(handle, name), dlvsym(handle, name, version). What is none of CUDA's goes on to the real one by a jump, so that
 * it sees the real caller's address, which RTLD_NEXT and RTLD_DEFAULT depend on. */
dlsym:
    .cfi_startproc
    endbr64
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movq 24(%rsp), %rdx
    call shim_dlsym
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %rdx, %rdx
    jnz 1f
    jmp *shim_real_dlsym(%rip)
1:
    ret
    .cfi_endproc
    .size dlsym, . - dlsym

dlvsym:
    .cfi_startproc
    endbr64
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    pushq %rdx
    .cfi_adjust_cfa_offset 8
    movq 24(%rsp), %rcx
    call shim_dlvsym
    movq %rdx, %rcx
    popq %rdx
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %rcx, %rcx
    jnz 1f
    jmp *shim_real_dlvsym(%rip)
1:
    ret
    .cfi_endproc
    .size dlvsym, . - dlvsym

#else

/* w17 is the number of the trampoline. struct frame lies at sp; spare holds x8. */
shim_slow:
    .cfi_startproc
    sub sp, sp, #224
    .cfi_def_cfa_offset 224
    stp x29, x30, [sp, #208]
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    add x29, sp, #208
    stp x0, x1, [sp, #0]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    str x8, [sp, #72]
    stp q0, q1, [sp, #80]
    stp q2, q3, [sp, #112]
    stp q4, q5, [sp, #144]
    stp q6, q7, [sp, #176]
    mov w0, w17
    mov x1, sp
    bl shim_decide
    mov x16, x0
    ldp q0, q1, [sp, #80]
    ldp q2, q3, [sp, #112]
    ldp q4, q5, [sp, #144]
    ldp q6, q7, [sp, #176]
    ldp x29, x30, [sp, #208]
    tbnz x16, #32, 1f
    ldp x0, x1, [sp, #0]
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldr x8, [sp, #72]
    ldr x16, [sp, #64]
    add sp, sp, #224
    br x16
1:
    mov w0, w16
    add sp, sp, #224
    ret
    .cfi_endproc
    .size shim_slow, . - shim_slow

dlsym:
    .cfi_startproc
    bti c
    stp x29, x30, [sp, #-48]!
    .cfi_def_cfa_offset 48
    .cfi_offset x29, -48
    .cfi_offset x30, -40
    mov x29, sp
    stp x0, x1, [sp, #16]
    mov x2, x30
    bl shim_dlsym
    cbnz x1, 1f
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #48
    adrp x16, shim_real_dlsym
    ldr x16, [x16, :lo12:shim_real_dlsym]
    br x16
1:
    ldp x29, x30, [sp], #48
    ret
    .cfi_endproc
    .size dlsym, . - dlsym

dlvsym:
    .cfi_startproc
    bti c
    stp x29, x30, [sp, #-48]!
    .cfi_def_cfa_offset 48
    .cfi_offset x29, -48
    .cfi_offset x30, -40
    mov x29, sp
    stp x0, x1, [sp, #16]
    str x2, [sp, #32]
    mov x3, x30
    bl shim_dlvsym
    cbnz x1, 1f
    ldp x0, x1, [sp, #16]
    ldr x2, [sp, #32]
    ldp x29, x30, [sp], #48
    adrp x16, shim_real_dlvsym
    ldr x16, [x16, :lo12:shim_real_dlvsym]
    br x16
1:
    ldp x29, x30, [sp], #48
    ret
    .cfi_endproc
    .size dlvsym, . - dlvsym

#endif

    .section .note.GNU-stack, "", %progbits
