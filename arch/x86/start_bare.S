/* x86: where the bare machine begins (32-bit protected mode without page tables: PVH, Xen's docs/misc/pvh.pandoc), and
 * the way from the guest (ring 3) and back. */
#include "bare_arch.h"

    .section .note.Xen, "a", @note
    .balign 4
    .long   4, 4, 18                /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz  "Xen"
    .long   _start

#define LARGE 0x83                  /* of an entry of page tables: 2 MiB, writable, the supervisor's alone */
#define TABLE 0x07                  /* a table, in which user pages may be */
#define LOW_PAGES 4                 /* where the supervisor is */
#define SEEN_PAGES 32

    .section .text.start, "ax"
    .code32
    .globl _start
    .type _start, @function
_start:
    cld
    movl    $stack_end, %esp
    movl    $LARGE, %eax
    xorl    %ecx, %ecx
0:  cmpl    $LOW_PAGES, %ecx
    jae     1f
    movl    %eax, page_directories(, %ecx, 8)
1:  movl    %eax, page_directories + 4096 * (MACHINE_SEEN >> 30)(, %ecx, 8)
    addl    $0x200000, %eax
    incl    %ecx
    cmpl    $SEEN_PAGES, %ecx
    jb      0b
    movl    $page_directories, %eax
    xorl    %ecx, %ecx
2:
#ifdef __x86_64__
    leal    TABLE(%eax), %edx
#else
    leal    1(%eax), %edx           /* all other bits are reserved in this mode (Intel SDM volume 3A, "PAE Paging") */
#endif
    movl    %edx, page_pointers(, %ecx, 8)
    addl    $4096, %eax
    incl    %ecx
    cmpl    $4, %ecx
    jb      2b
#ifdef __x86_64__
    movl    $(page_pointers + TABLE), page_root
    movl    $page_root, %eax
#else
    movl    $page_pointers, %eax
#endif
    movl    %eax, %cr3
    movl    $0x620, %eax            /* CR4: PAE, OSFXSR, OSXMMEXCPT */
    movl    %eax, %cr4
    movl    $0x80000000, %eax
    cpuid
    cmpl    $0x80000001, %eax
    jb      3f
    movl    $0x80000001, %eax
    cpuid
    testl   $(1 << 20), %edx        /* NX */
    jz      3f
    movl    $0xc0000080, %ecx       /* EFER */
    rdmsr
    orl     $0x800, %eax            /* NXE */
#ifdef __x86_64__
    orl     $0x101, %eax            /* LME, SCE */
#endif
    wrmsr
    movl    $1, has_no_execute
3:  movl    %cr0, %eax
    andl    $~0x4, %eax             /* EM */
    orl     $0x80010023, %eax       /* PG, WP, NE, MP, PE */
    movl    %eax, %cr0
    lgdt    gdt_register
    ljmp    $SUPERVISOR_CODE, $4f
#ifdef __x86_64__
    .code64
#endif
4:  movl    $SUPERVISOR_DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    fninit
    call    bare_main

/* Exceptions: every vector pushes its number, and 0 where the CPU pushes no code. */
    .macro vectors from, to
    .set    number, \from
    .rept   \to - \from
    .balign 16
    .if     !((number == 8) || ((number >= 10) && (number <= 14)) || (number == 17) || (number == 21))
    push    $0
    .endif
    push    $number
    jmp     of_exception
    .set    number, number + 1
    .endr
    .endm

    .balign 16
    .globl machine_vectors
machine_vectors:
    vectors 0, 32
    .balign 16
    push    $0
    push    $0x80
    jmp     of_exception

#ifdef __x86_64__
of_exception:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    pushq   %rbx
    pushq   %rbp
    pushq   %rsi
    pushq   %rdi
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    cld
    movq    %rsp, %rdi
    movq    %cr2, %rsi
    call    machine_trap
back:
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rdi
    popq    %rsi
    popq    %rbp
    popq    %rbx
    popq    %rdx
    popq    %rcx
    popq    %rax
    addq    $16, %rsp
    iretq

/* The system call: as if it was an exception with number 0x80.  It has left pc in rcx and the flags in r11. */
    .globl machine_system_call
machine_system_call:
    movq    %rsp, user_stack(%rip)
    movq    $stack_end, %rsp
    pushq   $USER_DATA
    pushq   user_stack(%rip)
    pushq   %r11
    pushq   $USER_CODE_64
    pushq   %rcx
    pushq   $0
    pushq   $0x80
    jmp     of_exception

/* machine_enter(pc, stack) */
    .globl machine_enter
    .type machine_enter, @function
machine_enter:
    movq    $stack_end, %rsp
    pushq   $USER_DATA
    pushq   %rsi
    pushq   $2
    pushq   $USER_CODE_64
    pushq   %rdi
    movl    $17, %ecx
5:  pushq   $0
    loop    5b
    jmp     back
#else
of_exception:
    pusha
    pushl   %ds
    pushl   %es
    movl    $SUPERVISOR_DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    cld
    movl    %esp, %eax
    movl    %cr2, %edx
    subl    $12, %esp               /* 16-aligned before the call does not matter here: there is no SSE */
    pushl   %edx
    pushl   %eax
    call    machine_trap
    addl    $20, %esp
back:
    popl    %es
    popl    %ds
    popa
    addl    $8, %esp
    iretl

/* machine_enter(pc, stack) */
    .globl machine_enter
    .type machine_enter, @function
machine_enter:
    movl    4(%esp), %eax
    movl    8(%esp), %edx
    movl    $stack_end, %esp
    pushl   $USER_DATA
    pushl   %edx
    pushl   $2
    pushl   $USER_CODE_32
    pushl   %eax
    movl    $10, %ecx
5:  pushl   $0
    loop    5b
    pushl   $USER_DATA
    pushl   $USER_DATA
    jmp     back
#endif

    .data
    .balign 16
    .globl machine_segments
machine_segments:
    .quad   0
#ifdef __x86_64__
    .quad   0x00af9b000000ffff      /* SUPERVISOR_CODE */
#else
    .quad   0x00cf9b000000ffff
#endif
    .quad   0x00cf93000000ffff      /* SUPERVISOR_DATA */
    .quad   0x00cffb000000ffff      /* USER_CODE_32 */
    .quad   0x00cff3000000ffff      /* USER_DATA */
    .quad   0x00affb000000ffff      /* USER_CODE_64 */
    .quad   0, 0                    /* TASK */
gdt_register:
    .word   . - machine_segments - 1
    .long   machine_segments

    .globl has_no_execute
    .balign 4
has_no_execute:
    .long   0

    .bss
    .balign 4096
    .globl page_directories
page_root:
    .skip   4096
page_pointers:
    .skip   4096
page_directories:
    .skip   4096 * 4
    .skip   16384
    .globl stack_end
stack_end:
user_stack:
    .skip   8
