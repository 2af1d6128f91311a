/* The shim's assembly: first instruction, copies that survive bad pointers, clone, sigreturn, and the way in for
 * rewritten call sites. */
#include "layout.h"

    .text
    .globl _start
_start:                              /* the real kernel's stack goes to C; C runs on a stack of its own */
    xor %ebp, %ebp
    mov %rsp, %rdi
    lea shim_initial_stack_top(%rip), %rsp
    call shim_start
    ud2

    .bss
    .balign 64
    .skip 65536
shim_initial_stack_top:

    .text
    .globl shim_copy, shim_copy_string, shim_copy_begin, shim_copy_end, shim_copy_fault
/* Between begin and end a fault means a bad pointer of the program: trap.c goes on at shim_copy_fault. */
shim_copy_begin:
shim_copy:                           /* (destination, source, length) */
    mov %rdx, %rcx
    xor %eax, %eax
    cmp $8, %rcx
    jne 1f
    mov (%rsi), %rdx
    mov %rdx, (%rdi)
    ret
1:  rep movsb
    ret
shim_copy_string:                    /* (destination, source, capacity) */
    xor %eax, %eax
2:  cmp %rdx, %rax
    jae 3f
    mov (%rsi,%rax), %cl
    mov %cl, (%rdi,%rax)
    test %cl, %cl
    jz 4f
    inc %rax
    jmp 2b
3:  mov $-36, %rax                   /* -ENAMETOOLONG */
4:  ret
shim_copy_end:
shim_copy_fault:
    mov $-14, %rax                   /* -EFAULT */
    ret

    .globl shim_restorer
shim_restorer:
    mov $15, %eax                    /* rt_sigreturn */
    syscall
    ud2

    .globl shim_sigreturn
shim_sigreturn:                      /* (struct user_context *): the frame begins 8 bytes before it */
    mov %rdi, %rsp
    mov $15, %eax
    syscall
    ud2

    .globl shim_enter_program
shim_enter_program:                  /* (entry, stack): registers as execve leaves them */
    mov %rsi, %rsp
    mov %rdi, %r11
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    jmp *%r11

    .globl shim_clone
shim_clone:                          /* (flags, stack, child_tid, tls): *stack is the child's struct shim_thread */
    mov %rdx, %r10
    xor %edx, %edx
    mov %rcx, %r8
    mov $56, %eax
    syscall
    test %rax, %rax
    jnz 1f
    xor %ebp, %ebp
    pop %rdi
    call shim_child_start
    ud2
1:  ret

    .globl shim_leave
shim_leave:                          /* (exit or exit_group, status) */
    mov %rdi, %rax
    mov %rsi, %rdi
    syscall
    ud2

/* From a stub: %rax the number, %rcx the address to go on at, as after a real syscall; %r11 is free. */
    .globl shim_fast_entry
shim_fast_entry:
    mov %rsp, %gs:THREAD_USER_STACK
    mov %gs:THREAD_STACK_TOP, %rsp
    push %rcx
    push %gs:THREAD_USER_STACK
    push %r9
    push %r8
    push %r10
    push %rdx
    push %rsi
    push %rdi
    mov %rax, %rdi
    mov %rsp, %rsi
    call shim_fast_call
    test %edx, %edx
    pop %rdi
    pop %rsi
    pop %rdx
    pop %r10
    pop %r8
    pop %r9
    pop %r11
    pop %rcx
    jnz 1f
    mov %r11, %rsp
    jmp *%rcx
1:  mov %rcx, %gs:THREAD_RESUME_IP
    mov %rax, %gs:THREAD_RESUME_RESULT
    mov %r11, %rsp
    jmp shim_trap_site

/* The one place of the shim that the filter does not let through: traps on purpose, so that C sees all of the
 * program's registers. */
    .globl shim_trap_site, shim_trap_site_end
shim_trap_site:
    syscall
shim_trap_site_end:
    ud2

    .section .note.GNU-stack, "", @progbits
